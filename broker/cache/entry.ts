import { appError, isAppError, type AppErrorData } from "../errors.ts";
import type { ErrorCode } from "../../lib/error-catalogue.ts";

/** That something does not exist: the error of the catalogue that says so. */
interface Absence {
  type: ErrorCode;
  data: AppErrorData;
}

/**
 * What a cached call answers. The version is that of the row it was made from, so that of two entries the newer one is
 * known; 0 when there is no row, and for answers without a version, of which the last one written counts.
 */
export type CacheEntry =
  | { readonly version: number; readonly value: unknown }
  | { readonly version: number; readonly absence: Absence };

/** An entry as the levels take it. */
export interface Keepable {
  readonly entry: CacheEntry;
  /** The entry as {@link encode} writes it. */
  readonly text: string;
  readonly lifeMs: number;
}

/**
 * The version of which other nodes are told. What has none cannot be told from what was before: they have to drop whatever
 * they have.
 */
export function toldVersionOf({ entry }: Keepable): number | undefined {
  return entry.version || undefined;
}

/** The entry of a result. */
export function entryOf(value: unknown): CacheEntry {
  return { version: versionOf(value), value };
}

/** The entry of an error that says that something does not exist; undefined for others, which are not kept. */
export function absenceOf(error: unknown, version = 0): CacheEntry | undefined {
  if (!isAppError(error) || error.code !== 404) return undefined;
  return { version, absence: { type: error.type, data: (error.data ?? {}) as AppErrorData } };
}

/** @throws the error of an absence */
export function answerOf(entry: CacheEntry): unknown {
  if ("absence" in entry) throw appError(entry.absence.type, entry.absence.data);
  return entry.value;
}

function versionOf(value: unknown): number {
  const version = (value as { version?: unknown } | null)?.version;
  return Number.isSafeInteger(version) && (version as number) > 0 ? (version as number) : 0;
}

/** The text of an entry without its version: `=` and the value, or `!` and the absence, in JSON. */
export function encode(entry: CacheEntry): string {
  return "absence" in entry ? `!${JSON.stringify(entry.absence)}` : `=${JSON.stringify(entry.value)}`;
}

/** The entry that {@link encode} made a text of; undefined for any other text. */
export function decode(version: number, text: string): CacheEntry | undefined {
  try {
    const content: unknown = JSON.parse(text.slice(1));
    if (text.startsWith("=")) return { version, value: content };
    return text.startsWith("!") ? { version, absence: content as Absence } : undefined;
  } catch {
    return undefined;
  }
}
