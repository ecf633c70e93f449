import { readFile } from "node:fs/promises";
import { join } from "node:path";

import { Ajv2020 } from "ajv/dist/2020.js";

/** The formats that our schemas name, as we write them; ajv itself knows none. */
const FORMATS = {
  uuid: /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/,
  "date-time": /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/,
  "uri-reference": (text: string) => URL.canParse(text, "http://base"),
};

interface AsyncApiDocument {
  readonly components: {
    readonly schemas: Readonly<Record<string, object>>;
    readonly messages: Readonly<Record<string, { readonly payload: object }>>;
  };
}

/** What is wrong with an event; empty when nothing is. */
export type EventCheck = (event: unknown) => readonly unknown[];

/** The text of the AsyncAPI document of the repository. */
export function readAsyncApi(): Promise<string> {
  return readFile(join(import.meta.dirname, "../../docs/asyncapi.json"), "utf8");
}

/**
 * A check of events against the AsyncAPI document. It is stricter than readers should be: a member that no schema names
 * is wrong.
 */
export function createEventCheck(asyncApi: string): EventCheck {
  const { components } = JSON.parse(asyncApi) as AsyncApiDocument;
  const { CloudEvent, ...payloads } = components.schemas;
  const schemas = { CloudEvent, ...mapValues(payloads, closed) };
  const messages = mapValues(components.messages, ({ payload }) => ({ payload: closed(payload) }));

  const ajv = new Ajv2020({
    allErrors: true,
    formats: FORMATS,
    allowUnionTypes: true,
    strictRequired: false,
  });
  ajv.addVocabulary(["components"]);
  ajv.addSchema({ components: { schemas, messages } }, "asyncapi");
  return (event) => {
    const { type } = event as { type: string };
    if (!Object.hasOwn(messages, type)) return [`There is no message ${type}.`];
    ajv.validate({ $ref: `asyncapi#/components/messages/${type}/payload` }, event);
    return ajv.errors ?? [];
  };
}

const closed = (schema: object): object => ({ ...schema, unevaluatedProperties: false });

function mapValues<T, U>(values: Readonly<Record<string, T>>, map: (value: T) => U): Record<string, U> {
  return Object.fromEntries(Object.entries(values).map(([name, value]) => [name, map(value)]));
}
