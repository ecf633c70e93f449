import type { Context, ServiceSchema } from "moleculer";
import { appError, isAppError } from "../broker/errors.ts";
import { isDatabaseError, isDatabaseUnavailable } from "../lib/database-errors.ts";

/** Errors of a database that is away leave the actions of a service as DATABASE_UNAVAILABLE. */
export const DatabaseErrorsMixin: Partial<ServiceSchema> = {
  hooks: {
    error: {
      "*": (_ctx: Context, error: Error) => {
        throw translate(error);
      },
    },
  },
};

/** Keeps the SQL and the values that a database error carries out of logs and messages. */
function translate(error: Error): Error {
  if (isAppError(error)) return error;
  if (isDatabaseUnavailable(error)) return appError("DATABASE_UNAVAILABLE", {}, error);
  return isDatabaseError(error) ? appError("INTERNAL_ERROR", {}, error) : error;
}
