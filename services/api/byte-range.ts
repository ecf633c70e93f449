import type { ByteRange } from "../../lib/storage/storage.ts";

const SINGLE = /^bytes=(\d{0,15})-(\d{0,15})$/i;

/**
 * The part of a representation that `Range` asks for (RFC 9110, 14.2).
 *
 * @returns undefined for all of it: without the header, and for what a server may ignore, such as several ranges
 */
export function rangeOf(header: string | undefined, bytes: number): ByteRange | "unsatisfiable" | undefined {
  const [, first, last] = SINGLE.exec(header?.trim() ?? "") ?? [];
  if (first === undefined || last === undefined || (first === "" && last === "")) return undefined;
  if (first === "") {
    const length = Math.min(Number(last), bytes);
    return length === 0 ? "unsatisfiable" : { start: bytes - length, end: bytes - 1 };
  }
  const start = Number(first);
  const end = last === "" ? Infinity : Number(last);
  if (end < start) return undefined;
  return start >= bytes ? "unsatisfiable" : { start, end: Math.min(end, bytes - 1) };
}
