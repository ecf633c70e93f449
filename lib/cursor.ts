import { createHmac, timingSafeEqual } from "node:crypto";
import { fingerprint } from "./canonical-json.ts";
import { derivedKey } from "./derived-key.ts";

/** Where a page ended: the values of the sort columns of its last row, in the order of the sort. */
export type CursorPosition = readonly (string | number)[];

/** Makes and reads cursors that are opaque to clients and cannot be forged. */
export interface CursorCodec {
  /** `scope` is whatever must be the same on the next page: sort and filters. */
  encode(position: CursorPosition, scope: unknown): string;
  /** The position, or undefined if the cursor was changed or is of another scope. */
  decode(cursor: string, scope: unknown): CursorPosition | undefined;
}

const MAC_BYTES = 16;

/** @param secret the node's SECRET */
export function createCursorCodec(secret: string): CursorCodec {
  const key = derivedKey(secret, "cursor");

  // The scope is not carried in the cursor, only signed with it.
  const macOf = (payload: Buffer, scope: unknown): Buffer =>
    createHmac("sha256", key).update(fingerprint(scope)).update(payload).digest().subarray(0, MAC_BYTES);

  return {
    encode(position, scope) {
      const payload = Buffer.from(JSON.stringify(position));
      return Buffer.concat([macOf(payload, scope), payload]).toString("base64url");
    },
    decode(cursor, scope) {
      const bytes = Buffer.from(cursor, "base64url");
      const payload = bytes.subarray(MAC_BYTES);
      if (payload.length === 0) return undefined;
      // Node skips over what is not base64url, so that many texts have the same bytes.
      if (bytes.toString("base64url") !== cursor) return undefined;
      if (!timingSafeEqual(bytes.subarray(0, MAC_BYTES), macOf(payload, scope))) return undefined;
      return JSON.parse(payload.toString()) as CursorPosition;
    },
  };
}
