import { ERROR_CATALOGUE, isErrorCode, type ErrorCode, type FieldError } from "./error-catalogue.ts";

/** A problem document (RFC 9457) with the members that every error of this API has. */
export interface Problem {
  /** Identifies the kind of problem: a relative URL into the error documentation. */
  type: string;
  title: string;
  status: number;
  detail: string;
  /** The path that was asked for. */
  instance: string;
  code: ErrorCode;
  requestId: string;
  retryable: boolean;
  /** The fields or parameters that are wrong; only with codes about them. */
  errors?: FieldError[];
}

/** The framework's error types, and the code that each is for a client. */
const FRAMEWORK_TYPES: ReadonlyMap<unknown, ErrorCode> = new Map(
  Object.entries({
    VALIDATION_ERROR: "VALIDATION_FAILED",
    // Moleculer gives these two status 404, but routes are static here: the resource may well exist.
    SERVICE_NOT_FOUND: "SERVICE_UNAVAILABLE",
    SERVICE_NOT_AVAILABLE: "SERVICE_UNAVAILABLE",
    REQUEST_REJECTED: "SERVICE_UNAVAILABLE",
    REQUEST_TIMEOUT: "UPSTREAM_TIMEOUT",
    REQUEST_SKIPPED: "UPSTREAM_TIMEOUT",
    QUEUE_FULL: "OVERLOADED",
    NOT_FOUND: "ROUTE_NOT_FOUND",
    UNABLE_DECODE_PARAM: "MALFORMED_REQUEST",
  } as const),
);

interface ErrorLike {
  type?: unknown;
  data?: unknown;
}

/** The code of any error: its own, the one that stands for a framework error, or INTERNAL_ERROR. */
export function codeOf(error: unknown): ErrorCode {
  const type = (error as ErrorLike | null)?.type;
  return FRAMEWORK_TYPES.get(type) ?? (isErrorCode(type) ? type : "INTERNAL_ERROR");
}

/** The `type` of the problem documents with this code. */
export function problemType(code: ErrorCode): string {
  return `/docs/errors#${code.toLowerCase().replaceAll("_", "-")}`;
}

/**
 * Makes the problem document of an error. Only what the catalogue or our own error data says is shown: messages of
 * other errors may hold SQL, node names or values.
 */
export function toProblem(error: unknown, context: { instance: string; requestId: string }): Problem {
  const code = codeOf(error);
  const { status, title, retryable } = ERROR_CATALOGUE[code];
  const type = (error as ErrorLike | null)?.type;
  const data = (error as ErrorLike | null)?.data;
  const errors = type === "VALIDATION_ERROR" ? validatorErrors(data) : ownErrors(data, type);
  return {
    type: problemType(code),
    title,
    status,
    detail: (isErrorCode(type) ? ownDetail(data) : undefined) ?? title,
    instance: context.instance,
    code,
    requestId: context.requestId,
    retryable,
    ...(errors.length > 0 && { errors }),
  };
}

function ownDetail(data: unknown): string | undefined {
  return (data as { detail?: string } | null | undefined)?.detail;
}

function ownErrors(data: unknown, type: unknown): FieldError[] {
  return isErrorCode(type) ? ((data as { errors?: FieldError[] } | null | undefined)?.errors ?? []) : [];
}

/** What the validator found, without what the framework has added to it. */
function validatorErrors(data: unknown): FieldError[] {
  if (!Array.isArray(data)) return [];
  return (data as FieldError[]).map(({ field, rule, message }) => ({ field, rule, message }));
}
