import { CLOUD_EVENT_SCHEMA } from "../../lib/cloud-event-schema.ts";
import type { EventDefinitions } from "../../lib/event-definition.ts";
import type { JsonSchema } from "../../lib/json-schema.ts";
import { markdownTable } from "./markdown.ts";

const EXAMPLE = {
  specversion: "1.0",
  id: "01890a5d-ac96-774b-bcce-b302099a8057",
  source: "/rollcall/users",
  type: "user-erased_v1",
  subject: "01890a5d-9c2e-7f41-8d3a-5b1c2d3e4f50",
  time: "2030-01-31T12:00:00.000Z",
  datacontenttype: "application/json",
  data: { id: "01890a5d-9c2e-7f41-8d3a-5b1c2d3e4f50", version: 7 },
  sequence: "0000000000004711",
  actor: "user:01890a5d-9c2e-7f41-8d3a-5b1c2d3e4f50",
  requestid: "0b1e6c9a-52b4-4b0e-9d6e-3f1f5a0c7d11",
  changedfields: "",
};

const INTRODUCTION = `# Events

<!-- Generated from lib/cloud-event-schema.ts and services/*/*.events.ts by \`npm run docs\`. -->

Every change of a resource is an event. It is written in the transaction of the change, so there is one if and only if
the change was made, and it carries the whole resource, so a reader need not call back. Passwords, hashes and tokens are
never in an event.

The same is in [asyncapi.json](asyncapi.json) for programs: an AsyncAPI 3.0 document with a JSON Schema of each event.

## The envelope

An event is a CloudEvent 1.0 in its JSON format:

\`\`\`json
${JSON.stringify(EXAMPLE, null, 2)}
\`\`\`
`;

const PARAMETERS = markdownTable(
  ["parameter", "meaning"],
  [
    [
      "`after`",
      "A position: what comes after this sequence. Without it, the page begins with the oldest event that is kept.",
    ],
    ["`types`", "Only events of these types, separated by commas."],
    ["`subject`", "Only events about the resource with this id."],
    ["`limit`", "At most so many, 1 to 1000; 100 by default. A page of large events is shorter."],
    ["`wait`", "When there is none, wait for one so many seconds, 0 to 30."],
  ],
);

const READING = `## What a reader can rely on

- **Order.** \`sequence\` counts all events from 1, without a gap, and never changes. The events of one resource are in the
  order of its \`version\`.
- **At least once.** An event may be delivered again, with the same \`id\`. Nothing is lost while the log has it: for as
  long as \`EVENT_LOG_RETENTION_DAYS\` says.
- **Erased data.** When a user is erased, the events about it that were before lose all members of their \`data\` but
  \`id\` and \`version\` in the log, and are deleted from the stream. Who reads them later sees that they were, and then the
  event of the erasure. The same goes for the events about its images, also of deleted ones. The events about an image that
  is deleted are deleted from the stream; in the log they keep their data.
- **New members.** A reader ignores members that it does not know: they may be added at any time.

## Reading

There is one log, and three ways to read it. The first two are for admins and for API keys with the scope
\`events:read\`.

**The feed**, \`GET /api/v1/events\`, gives a page:

${PARAMETERS}

The answer is \`{ "data": […], "nextAfter": 4711, "lastSequence": 4800 }\`. \`nextAfter\` is the \`after\` of the next request
(\`Link: rel="next"\` has it as a URL), also when a filter has left all events out: a reader keeps it, not the sequence of
the last event. When both numbers are the same, the reader is at the end.

**The stream**, \`GET /api/v1/events/stream\`, sends events as they come, as server-sent events with \`after\`, \`types\` and
\`subject\` as above. Without \`after\` it begins with what comes from now on. \`id\` is the position: a client that comes back
with it in \`Last-Event-ID\`, as browsers do by themselves, to this gateway or another one, gets each event once, and none
is missing. Every 15 s there is a comment or, where a filter leaves events out, an \`id\` without event. The server ends a
stream when it stops, within a second after its client may no longer read it, such as when its access token has expired
or its session has ended, and when the client takes nothing for 10 s. Clients come back, if need be with a new token.

**A durable consumer** is a service of its own process: see [architecture.md](architecture.md). It is told of events by
NATS JetStream, stream \`EVENTS\`, subject \`events.<type>.<subject>\`. An event that is larger than \`max_payload\` of NATS is
there without its \`data\`, and says in \`dataref\` where that is. The feed, the stream of the gateway and the handlers of
durable consumers always have it.

Who asks for events that the log no longer has gets 410 \`EVENTS_EXPIRED\`, with the position at which it begins. A position
beyond the end is refused as well: it means that the log was restored from a backup and is behind its readers.

## New versions of an event

The name of an event ends in the version of its payload. A member may be added to a version. Whatever else changes, such
as the type or the meaning of a member, a member that goes, or a value more in an enumeration, makes the next version.
Both are sent for a time, so that readers move one by one:

1. Add \`user-updated_v2\` with its type, schema and description beside \`user-updated_v1\` in
   \`services/users/users.events.ts\`, and let the description of the old one say until when it is sent.
2. Where the change is made, record both in the one unit of work, **the new one first**:

   \`\`\`ts
   work.record({ type: "user-updated_v2", data: toUserV2(next), changedFields });
   work.record({ type: "user-updated_v1", data: toUser(next), changedFields });
   \`\`\`

   A reader that goes on with \`_v2\` after the last \`_v1\` that it has seen then misses none and repeats none, because each
   \`_v2\` comes before its \`_v1\`.

3. Each reader changes its filter from one to the other and keeps its position. It never takes both: they are one change.
4. When nobody reads \`_v1\` any more, stop recording it. Its definition stays for as long as the log may have it.
`;

/** The text of `docs/events.md`: the envelope, what readers can rely on, all types and their payloads. */
export function eventsDoc(events: EventDefinitions): string {
  const rows = Object.entries(events).map(([type, { description, schema }]) => [
    `\`${type}\``,
    description,
    `[${schema.title}](#${schema.title.toLowerCase()})`,
  ]);
  const types = markdownTable(["type", "meaning", "data"], rows);
  const schemas = new Map(Object.values(events).map(({ schema }) => [schema.title, schema]));
  const payloads = [...schemas].map(([title, schema]) => `### ${title}\n\n${memberTable(schema)}\n`);
  return [
    INTRODUCTION,
    `${envelopeTable()}\n`,
    READING,
    `## Types\n\n${types}\n`,
    "## Payloads\n",
    ...payloads,
  ].join("\n");
}

function envelopeTable(): string {
  const { properties, required } = CLOUD_EVENT_SCHEMA;
  const type = { type: "string", description: "One of the types below." } as const;
  const data = {
    type: "object",
    description: "The resource after the change, see its type. Not there when there is `dataref`.",
  } as const;
  return memberTable({ properties: { type, ...properties, data }, required: ["type", ...required] });
}

function memberTable({
  properties = {},
  required = [],
}: Pick<JsonSchema, "properties" | "required">): string {
  const rows = Object.entries(properties).map(([name, schema]) => [
    `\`${name}\``,
    typeOf(schema),
    required.includes(name) ? "yes" : "no",
    schema.description ?? "",
  ]);
  return markdownTable(["member", "type", "always", "meaning"], rows);
}

function typeOf(schema: JsonSchema): string {
  if ("const" in schema) return `\`"${schema.const}"\``;
  if ("enum" in schema) return schema.enum.map((value) => `\`"${value}"\``).join(" or ");
  const types = [schema.type].flat().join(" or ");
  if (schema.items) return `${types} of ${typeOf(schema.items)}`;
  return schema.format ? `${types}, ${schema.format}` : types;
}
