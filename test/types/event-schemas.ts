/*
 * Checked by the compiler alone: nothing runs this. The schemas of events allow what their types do, and nothing else.
 */
import type { CLOUD_EVENT_SCHEMA } from "../../lib/cloud-event-schema.ts";
import type { CloudEvent } from "../../lib/cloud-event.ts";
import type { DOMAIN_EVENTS, DomainEventMap } from "../../lib/contracts.ts";
import type { FromSchema } from "../../lib/json-schema.ts";
import type { Equal } from "./equal.ts";

type Payload<Type extends keyof DomainEventMap> = FromSchema<(typeof DOMAIN_EVENTS)[Type]["schema"]>;

/** An optional member more is assignable both ways, so the names are compared too. */
type Same<A, B> = Equal<A, B> extends true ? Equal<keyof A, keyof B> : false;

({}) as { [Type in keyof DomainEventMap]: Same<Payload<Type>, DomainEventMap[Type]> } satisfies Record<
  keyof DomainEventMap,
  true
>;

// Of the envelope, without what differs from type to type.
type Envelope = Omit<CloudEvent, "type" | "data">;
true satisfies Same<FromSchema<typeof CLOUD_EVENT_SCHEMA>, Envelope>;

const example = {
  type: "object",
  properties: {
    name: { type: "string" },
    age: { type: ["integer", "null"] },
    kind: { enum: ["a", "b"] },
    fixed: { const: "1.0" },
    tags: { type: "array", items: { type: "string" } },
  },
  required: ["name", "age", "kind", "tags"],
} as const;

type Example = { name: string; age: number | null; kind: "a" | "b"; fixed?: "1.0"; tags: string[] };
true satisfies Same<FromSchema<typeof example>, Example>;
// @ts-expect-error: another type
true satisfies Same<FromSchema<typeof example>, Omit<Example, "age"> & { age: number }>;
// @ts-expect-error: an optional member is missing
true satisfies Same<FromSchema<typeof example>, Omit<Example, "fixed">>;
