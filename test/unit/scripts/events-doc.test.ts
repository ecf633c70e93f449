import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";

import { describe, expect, test } from "@jest/globals";
import { Ajv } from "ajv";

import { DOMAIN_EVENTS } from "../../../lib/contracts.ts";
import type { EventDefinition } from "../../../lib/event-definition.ts";
import { asyncApiDocument } from "../../../scripts/docs/asyncapi.ts";
import { eventsDoc } from "../../../scripts/docs/events-doc.ts";
import { createEventCheck, readAsyncApi } from "../../support/event-check.ts";

const TYPES = Object.keys(DOMAIN_EVENTS) as (keyof typeof DOMAIN_EVENTS)[];

const BADGES: EventDefinition = {
  source: "/rollcall/badges",
  description: "Badges were given.",
  schema: {
    title: "BadgesV2",
    type: "object",
    properties: {
      id: { type: "string", format: "uuid" },
      badges: { type: "array", items: { type: "string" } },
    },
    required: ["id", "badges"],
  },
};
const BADGE: EventDefinition = {
  source: "/rollcall/badges",
  description: "A badge was given. Sent until 2031 beside `badge-given_v2`.",
  schema: {
    title: "Badge",
    type: "object",
    properties: { id: { type: "string", format: "uuid" } },
    required: ["id"],
  },
};
const TWO_VERSIONS = { "badge-given_v1": BADGE, "badge-given_v2": BADGES };

const exampleOf = (doc: string): Record<string, unknown> => {
  const [, json = ""] = /```json\n(.*?)```/s.exec(doc) ?? [];
  return JSON.parse(json) as Record<string, unknown>;
};

/** Checks documents against the official schema of AsyncAPI 3.0.0. */
async function createAsyncApiCheck(): Promise<(document: object) => boolean> {
  const path = createRequire(import.meta.url).resolve("@asyncapi/specs/schemas/3.0.0-without-$id.json");
  const ajv = new Ajv({ strict: false, validateFormats: false });
  return ajv.compile(JSON.parse(await readFile(path, "utf8")) as object);
}

describe("docs/asyncapi.json", () => {
  test("is valid by the official schema of AsyncAPI 3.0", async () => {
    const isValid = await createAsyncApiCheck();
    const document = JSON.parse(await readAsyncApi()) as Record<string, unknown>;
    expect(isValid(document)).toBe(true);
    expect(isValid({ ...document, info: {} })).toBe(false);
    expect(isValid({ ...document, components: { messages: { "user-created_v1": { name: 1 } } } })).toBe(
      false,
    );
  });

  test("has each type of event as a message of JetStream and of the stream, and no other", async () => {
    const { channels, components } = JSON.parse(await readAsyncApi()) as {
      channels: Record<"jetstream" | "stream", { messages: object }>;
      components: { messages: object };
    };
    expect(Object.keys(components.messages)).toEqual(TYPES);
    expect(Object.keys(channels.jetstream.messages)).toEqual(TYPES);
    expect(Object.keys(channels.stream.messages)).toEqual(TYPES);
  });

  test("has two versions of an event beside each other", () => {
    const document = asyncApiDocument(TWO_VERSIONS, "1.0.0");
    const check = createEventCheck(document);
    const id = "01890a5d-9c2e-7f41-8d3a-5b1c2d3e4f50";
    const event = exampleOf(eventsDoc(DOMAIN_EVENTS));
    expect(check({ ...event, type: "badge-given_v1", data: { id } })).toEqual([]);
    expect(check({ ...event, type: "badge-given_v2", data: { id, badges: ["gold"] } })).toEqual([]);
    expect(check({ ...event, type: "badge-given_v2", data: { id } })).not.toEqual([]);
  });

  test("is not made when two schemas have one title", () => {
    const other = { ...BADGE, schema: { ...BADGES.schema, title: BADGE.schema.title } };
    expect(() => asyncApiDocument({ "badge-given_v1": BADGE, "badge-given_v2": other }, "1.0.0")).toThrow(
      "Two schemas of events have the title Badge.",
    );
  });
});

describe("docs/events.md", () => {
  const doc = eventsDoc(DOMAIN_EVENTS);

  test("shows an event that is one by the AsyncAPI document", async () => {
    const check = createEventCheck(await readAsyncApi());
    const event = exampleOf(doc);
    expect(check(event)).toEqual([]);
    expect(check({ ...event, sequence: 4711 })).not.toEqual([]);
    expect(check({ ...event, password: "secret" })).not.toEqual([]);
    expect(check({ ...event, data: { ...(event["data"] as object), password: "secret" } })).not.toEqual([]);
    expect(check({ ...event, type: "user-created_v1" })).not.toEqual([]);
    expect(check({ ...event, type: "user-created" })).not.toEqual([]);
  });

  test.each(TYPES)("says what %s means and links to its payload", (type) => {
    const { description, schema } = DOMAIN_EVENTS[type];
    const [, meaning, link] = new RegExp(`^\\| \`${type}\` +\\| (.*?) +\\| (.*?) +\\|$`, "m").exec(doc) ?? [];
    expect(meaning).toBe(description);
    expect(link).toBe(`[${schema.title}](#${schema.title.toLowerCase()})`);
    expect(doc).toContain(`\n### ${schema.title}\n`);
  });

  test("names every member of every payload", () => {
    for (const { schema } of Object.values(DOMAIN_EVENTS)) {
      const [, section = ""] = doc.split(`\n### ${schema.title}\n`);
      for (const member of schema.required) expect(section).toContain(`| \`${member}\``);
    }
  });
});
