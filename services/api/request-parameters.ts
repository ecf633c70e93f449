import type { IncomingMessage } from "node:http";
import { appError, invalidField } from "../../broker/errors.ts";
import type { FieldError } from "../../lib/error-catalogue.ts";

type Parameters = Record<string, unknown>;

/**
 * Reads the query of a URL strictly: every parameter once, every escape valid.
 *
 * @throws VALIDATION_FAILED that names the parameter
 */
export function readQuery(url: string): Parameters {
  const start = url.indexOf("?");
  if (start === -1 || start === url.length - 1) return {};
  const query: Parameters = {};
  for (const pair of url.slice(start + 1).split("&")) {
    if (pair === "") continue;
    const [rawName = "", ...rest] = pair.split("=");
    const name = decode(rawName, rawName);
    if (name === "__proto__") throw unknownFields([name]);
    if (Object.hasOwn(query, name)) {
      throw invalidField(name, "duplicate", `The parameter '${name}' is given more than once.`);
    }
    query[name] = decode(rest.join("="), name);
  }
  return query;
}

function decode(text: string, name: string): string {
  try {
    return decodeURIComponent(text.replaceAll("+", " "));
  } catch {
    throw invalidField(name, "encoding", `The parameter '${name}' is not valid percent-encoded UTF-8.`);
  }
}

/**
 * For requests whose parameters are in the body: a query that had no effect would hide a mistake.
 *
 * @throws VALIDATION_FAILED that names every parameter
 */
export function refuseAll(query: Parameters): void {
  const names = Object.keys(query);
  if (names.length > 0) throw unknownFields(names);
}

/**
 * Joins what the path says with what the client gives in query or body.
 *
 * @throws VALIDATION_FAILED when the client names what only the path or a header may say
 */
export function joinParameters(given: Parameters, fixed: Parameters): Parameters {
  const clashes = Object.keys(given).filter(
    (name) => Object.hasOwn(fixed, name) || name === "expectedVersions",
  );
  if (clashes.length > 0) throw unknownFields(clashes);
  return { ...given, ...fixed };
}

function unknownFields(names: string[]): Error {
  const errors: FieldError[] = names.map((field) => ({
    field,
    rule: "unknown",
    message: `'${field}' is not known here.`,
  }));
  return appError("VALIDATION_FAILED", { errors });
}

const IDEMPOTENCY_KEY = /^[\x20-\x7e]{1,255}$/;

/**
 * The client's idempotency key, if it sent one.
 *
 * @throws VALIDATION_FAILED
 */
export function readIdempotencyKey({ headers }: IncomingMessage): string | undefined {
  const key = headers["idempotency-key"];
  if (key === undefined) return undefined;
  if (typeof key === "string" && IDEMPOTENCY_KEY.test(key)) return key;
  throw invalidField("Idempotency-Key", "format", "The header must be 1 to 255 printable ASCII characters.");
}

const REQUEST_ID = /^[A-Za-z0-9._-]{1,128}$/;

/** The client's request id if it is safe to log and to send back. */
export function readRequestId({ headers }: IncomingMessage): string | undefined {
  const id = headers["x-request-id"];
  return typeof id === "string" && REQUEST_ID.test(id) ? id : undefined;
}
