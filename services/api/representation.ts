import XMLBuilder from "fast-xml-builder";
import Negotiator from "negotiator";
import type { IncomingMessage } from "node:http";
import { appError } from "../../broker/errors.ts";

export type Format = "json" | "xml";

const MEDIA_TYPES: Readonly<Record<string, Format>> = {
  "application/json": "json",
  "application/xml": "xml",
  "text/xml": "xml",
  "application/problem+json": "json",
  "application/problem+xml": "xml",
  // A range with a parameter matches only a type that has it too, and some clients name the charset.
  "application/json;charset=utf-8": "json",
  "application/xml;charset=utf-8": "xml",
};

/**
 * The format that the client wants.
 *
 * @throws NOT_ACCEPTABLE
 */
export function negotiate(request: IncomingMessage): Format {
  const format = preferredFormat(request);
  if (!format) throw appError("NOT_ACCEPTABLE");
  return format;
}

/** The same for errors, which are answered in JSON when nothing else is wanted. */
export function negotiateProblem(request: IncomingMessage): Format {
  return preferredFormat(request) ?? "json";
}

function preferredFormat(request: IncomingMessage): Format | undefined {
  const accept = acceptOf(request);
  if (accept === undefined || accept === "*/*" || accept === "application/json") return "json";
  const type = new Negotiator(request).mediaType(Object.keys(MEDIA_TYPES));
  return type === undefined ? undefined : MEDIA_TYPES[type];
}

/** What a client accepts; undefined when it does not say. Elements of a list may be empty (RFC 9110, 5.6.1). */
export function acceptOf({ headers }: Pick<IncomingMessage, "headers">): string | undefined {
  const { accept } = headers;
  return accept === undefined || /^[\s,]*$/.test(accept) ? undefined : accept;
}

// The XML 1.0 character range leaves these out; JSON may hold them.
const NOT_XML = /[^\t\n\r\u{20}-\u{D7FF}\u{E000}-\u{FFFD}\u{10000}-\u{10FFFF}]/gu;

const builder = new XMLBuilder({
  ignoreAttributes: false,
  attributeNamePrefix: "@",
  suppressEmptyNode: true,
  tagValueProcessor: (_name, value) =>
    typeof value === "string" ? value.replaceAll(NOT_XML, "\u{FFFD}") : value,
});

/**
 * XML of a JSON value: members become elements, entries of arrays become `<item>`s, null members are left out.
 *
 * @param namespace of the root element
 */
export function toXml(root: string, value: object, namespace?: string): string {
  const content = {
    ...(namespace !== undefined && { "@xmlns": namespace }),
    ...(toElements(value) as object),
  };
  // A parser makes a line feed of a carriage return that is not escaped (XML 1.0, 2.11).
  const xml = builder.build({ [root]: content }).replaceAll("\r", "&#13;");
  return `<?xml version="1.0" encoding="UTF-8"?>${xml}`;
}

function toElements(value: unknown): unknown {
  if (Array.isArray(value)) return { item: value.map(toElements) };
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, member]) => member !== null && member !== undefined)
      .map(([name, member]) => [name, toElements(member)]),
  );
}
