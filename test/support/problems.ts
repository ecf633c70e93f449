import { expect } from "@jest/globals";

import type { RawResponse } from "./raw-http.ts";
import type { RestResponse } from "./rest-client.ts";

/** A problem document (RFC 9457) as a client of this API relies on it. */
export interface ProblemBody {
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly detail: string;
  readonly instance: string;
  readonly code: string;
  readonly requestId: string;
  readonly retryable: boolean;
  readonly errors?: readonly { readonly field: string; readonly rule: string; readonly message: string }[];
}

const MEMBERS = ["type", "title", "status", "detail", "instance", "code", "requestId", "retryable"];

/** What must not leave the system: SQL, stacks, names of nodes and actions. */
const INTERNALS =
  /select |insert |sequelize|moleculer|node_modules|\bat \w+ \(|users\.(?:create|get|list|update)/i;

/** The problem document of a response, once it is certain that it is a whole one and shows no internals. */
export function problemOf(response: RestResponse | RawResponse): ProblemBody {
  expect(response.headers["content-type"]).toBe("application/problem+json");
  const { errors, ...members } = JSON.parse(response.text) as ProblemBody;
  expect(Object.keys(members)).toEqual(MEMBERS);
  expect(members).toEqual({
    type: `/docs/errors#${members.code.toLowerCase().replaceAll("_", "-")}`,
    title: expect.stringMatching(/./),
    status: response.status,
    detail: expect.stringMatching(/./),
    instance: expect.any(String),
    code: expect.stringMatching(/^[A-Z_]+$/),
    requestId: response.headers["x-request-id"],
    retryable: expect.any(Boolean),
  });
  // The path is what the client has sent.
  expect(response.text.replace(JSON.stringify(members.instance), "")).not.toMatch(INTERNALS);
  return errors ? { ...members, errors } : members;
}

/** The fields that a problem document names. */
export function fieldsOf(problem: ProblemBody): string[] {
  return (problem.errors ?? []).map(({ field }) => field);
}
