import { v7 } from "uuid";

/** A new UUIDv7 (RFC 9562): sorts by its time of creation, so that inserts go to the end of an index. */
export function newId(): string {
  return v7();
}

/** Whether an id is written as we write ids. Clients may write them in capitals too: those ids are equal. */
export function isCanonicalId(id: unknown): boolean {
  return typeof id === "string" && id === id.toLowerCase();
}
