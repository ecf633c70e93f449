import { Errors } from "moleculer";
import { ERROR_CATALOGUE, isErrorCode, type ErrorCode, type FieldError } from "../lib/error-catalogue.ts";

/** What an error of ours carries besides its code, across nodes too. */
export interface AppErrorData {
  /** What happened in this case; shown to the client. */
  detail?: string;
  /** The fields or parameters that are wrong. */
  errors?: FieldError[];
}

/**
 * Makes an error of the catalogue. It is a plain Moleculer error, because subclasses do not survive the way between
 * nodes: test it by `type` (see {@link hasType}), never by `instanceof`. Retryable codes make the broker retry the call.
 */
export function appError(code: ErrorCode, data: AppErrorData = {}, cause?: unknown): Errors.MoleculerError {
  const { status, title, retryable } = ERROR_CATALOGUE[code];
  const ErrorClass = retryable ? Errors.MoleculerRetryableError : Errors.MoleculerError;
  const error = new ErrorClass(data.detail ?? title, status, code, data);
  if (cause !== undefined) error.cause = cause;
  return error;
}

/** A VALIDATION_FAILED error for one field. */
export function invalidField(field: string, rule: string, message: string): Errors.MoleculerError {
  return appError("VALIDATION_FAILED", { errors: [{ field, rule, message }] });
}

/** Whether `error` has this code. */
export function hasType(error: unknown, code: ErrorCode): boolean {
  return (error as { type?: unknown } | null)?.type === code;
}

/** Whether `error` is one of the catalogue. */
export function isAppError(error: unknown): error is Errors.MoleculerError & { type: ErrorCode } {
  return isErrorCode((error as { type?: unknown } | null)?.type);
}
