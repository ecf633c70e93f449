import type { JsonSchema } from "./json-schema.ts";
import { SEQUENCE_DIGITS } from "./cloud-event.ts";

/** The schema of an event without `type` and `data`, which differ from one type to the other. */
export const CLOUD_EVENT_SCHEMA = {
  type: "object",
  properties: {
    specversion: { const: "1.0" },
    id: {
      type: "string",
      format: "uuid",
      description: "The same in every delivery of the event, so that a repeated one is recognised.",
    },
    source: { type: "string", format: "uri-reference", description: "The service that made the change." },
    subject: { type: "string", format: "uuid", description: "Id of the resource that was changed." },
    time: { type: "string", format: "date-time", description: "When the change was made." },
    datacontenttype: { const: "application/json" },
    sequence: {
      type: "string",
      pattern: `^\\d{${SEQUENCE_DIGITS}}$`,
      description:
        "Position in the log: counts all events without a gap. With leading zeros, so it sorts as text.",
    },
    actor: {
      type: "string",
      pattern: "^(anonymous|(user|api-key|service):.+)$",
      description: "Who made the change: `user:<id>`, `api-key:<id>`, `service:<name>` or `anonymous`.",
    },
    requestid: { type: "string", description: "Of the request that made the change, as in the logs." },
    changedfields: {
      type: "string",
      description: "Names of the fields that the change set, separated by commas; empty when there is none.",
    },
    dataref: {
      type: "string",
      format: "uri-reference",
      description:
        "Where `data` is that is too large for NATS: a page of the feed with this event. Only in the stream of NATS.",
    },
    traceparent: { type: "string", description: "W3C trace context of the request, when it had one." },
  },
  required: [
    "specversion",
    "id",
    "source",
    "subject",
    "time",
    "datacontenttype",
    "sequence",
    "actor",
    "requestid",
    "changedfields",
  ],
} as const satisfies JsonSchema;
