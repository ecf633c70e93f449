/** Of Redis' publish and subscribe. */
export const REDIS_CHANNEL = "rollcall:cache";
/** Of NATS. */
export const NATS_SUBJECT = "rollcall.cache";

/** What the nodes tell each other: that an entry is out of date, or is to be dropped, or a whole namespace. */
export interface Invalidation {
  /** Who says it. */
  readonly node: string;
  readonly namespace?: string;
  readonly key?: string;
  /** There is no older version any more; without it, the entry is dropped whatever its version. */
  readonly version?: number | undefined;
  /** Redis could not be told: those who can reach it are asked to. */
  readonly isUnsettled?: boolean;
}

export function encodeMessage(message: Invalidation): string {
  return JSON.stringify(message);
}

/** Undefined for what is no message of ours. */
export function decodeMessage(text: string): Invalidation | undefined {
  try {
    const message = JSON.parse(text) as Partial<Record<keyof Invalidation, unknown>> | null;
    const { node, namespace, key, version } = message ?? {};
    if (typeof node !== "string") return undefined;
    if (typeof key !== "string" && typeof namespace !== "string") return undefined;
    if (version !== undefined && typeof version !== "number") return undefined;
    return message as unknown as Invalidation;
  } catch {
    return undefined;
  }
}
