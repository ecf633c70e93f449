import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import fc from "fast-check";
import { Serializers, type ServiceBroker } from "moleculer";

import { JSON_TEXT_HEADER, JsonText, JsonTextSerializer } from "../../../broker/json-text.ts";
import { createTestBroker } from "../../support/test-broker.ts";

const serializer = new JsonTextSerializer();
const plain = new Serializers.JSON();

const jsonTextOf = (value: object, member: unknown): JsonText =>
  new JsonText(Buffer.from(JSON.stringify(value)), member);

describe("a packet", () => {
  test("with JSON text comes out as it went in, whatever the text and the others say", () => {
    const texts = fc.oneof(fc.string({ unit: "binary" }), fc.constantFrom(',"data":', '{"jsonTextBytes":5'));
    const objects = fc.dictionary(texts, fc.oneof(texts, fc.jsonValue()));
    fc.assert(
      fc.property(objects, fc.option(texts), objects, (value, member, meta) => {
        const data = jsonTextOf(value, member);
        const packet = { id: "1", meta: JSON.parse(JSON.stringify(meta)) as object, success: true, data };
        expect(serializer.deserialize(serializer.serialize(packet))).toEqual(packet);
      }),
    );
  });

  test("with JSON text is JSON too, for nodes that know nothing of it", () => {
    const value = { data: ["é", '"'], nextCursor: "c" };
    const bytes = serializer.serialize({ id: "1", data: jsonTextOf(value, "c"), sender: "a" });
    expect(plain.deserialize(bytes)).toMatchObject({ id: "1", data: value, sender: "a" });
  });

  test("with any other data is that of Moleculer", () => {
    const packet = { id: "1", data: { nextCursor: null }, sender: "a" };
    expect(serializer.serialize(packet)).toEqual(plain.serialize(packet));
    expect(serializer.deserialize(serializer.serialize(packet))).toEqual(packet);
  });
});

describe("the result of an action", () => {
  const page = { data: [{ name: "Ōe" }], nextCursor: "c" };
  let broker: ServiceBroker;

  beforeAll(async () => {
    broker = createTestBroker();
    broker.createService({ name: "pages", actions: { get: { cache: true, handler: () => page } } });
    await broker.start();
  });

  afterAll(() => broker.stop());

  test("is JSON text for a caller that asks for it, from a cache too, and for nobody else", async () => {
    const ask = () => broker.call("pages.get", {}, { headers: { [JSON_TEXT_HEADER]: "nextCursor" } });

    await expect(ask()).resolves.toEqual(jsonTextOf(page, "c"));
    await expect(ask()).resolves.toEqual(jsonTextOf(page, "c"));
    await expect(broker.call("pages.get", {})).resolves.toEqual(page);
  });
});
