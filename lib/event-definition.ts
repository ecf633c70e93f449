import type { JsonSchema } from "./json-schema.ts";

/** What documents and checks know of a domain event. */
export interface EventDefinition {
  /** The `source` of its envelope: the service that owns it. */
  readonly source: string;
  /** When it is sent and what a reader makes of it. Markdown. */
  readonly description: string;
  /** Of its `data`. Another schema has another title. */
  readonly schema: JsonSchema & { readonly title: string };
  /** Its subject is gone for good: of the events about it before this one nothing stays but that they were. */
  readonly isErasure?: true;
}

export type EventDefinitions<Type extends string = string> = Readonly<Record<Type, EventDefinition>>;
