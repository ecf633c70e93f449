import { v7, validate } from "uuid";

/** A new UUIDv7 (RFC 9562): sorts by its time of creation, so that inserts go to the end of an index. */
export function newId(): string {
  return v7();
}

/** Whether `value` is a UUID of any version in its usual text form. */
export function isId(value: string): boolean {
  return validate(value);
}
