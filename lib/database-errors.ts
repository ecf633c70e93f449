import pg from "pg";
import { BaseError, ConnectionError, DatabaseError, UniqueConstraintError } from "sequelize";

/** SQLSTATE classes and codes that say nothing about the request, only about the server's present state. */
const UNAVAILABLE_STATES = [
  /^08/, // connection exceptions
  /^53/, // insufficient resources, too many connections
  /^57/, // shutdown, restart, starting up, statement timeout
  /^25006$/, // read-only: the primary has become a replica
  /^25P03$/, // idle in transaction for too long
  /^40(001|P01)$/, // serialization failure, deadlock
  /^55P03$/, // lock timeout
];

/** Those of a server that does not take part at all, rather than of a statement that took too long or was in the way. */
const AWAY_STATES = /^(?:08|53|57P|25006)/;

/** What the driver throws, without a SQLSTATE, when a connection breaks or a query times out on our side. */
const BROKEN_CONNECTION =
  /Connection terminated|Query read timeout|timeout expired|ECONNRE|EPIPE|ETIMEDOUT|E(?:HOST|NET)UNREACH|Client has encountered a connection error|not queryable|ConnectionManager\.getConnection was called after/;

/** Whether the error means that the database is away, restarting or overloaded: trying again later may help. */
export function isDatabaseUnavailable(error: unknown): boolean {
  if (error instanceof ConnectionError) return true;
  if (!(error instanceof Error)) return false;
  const state = stateOf(error);
  if (state !== undefined) return UNAVAILABLE_STATES.some((pattern) => pattern.test(state));
  return BROKEN_CONNECTION.test(error.message);
}

/**
 * Whether the server said that it is shutting down, starting up, out of resources or no primary. A connection that just
 * breaks may have another reason, such as a transaction that was idle for too long.
 */
export function isDatabaseAway(error: unknown): boolean {
  return AWAY_STATES.test(stateOf(error) ?? "");
}

/** Whether the error comes from the database layer at all; its message may hold SQL and values. */
export function isDatabaseError(error: unknown): boolean {
  return error instanceof BaseError || error instanceof pg.DatabaseError;
}

/** Whether the error is a violation of the unique index of this name. */
export function violatesUnique(error: unknown, index: string): boolean {
  return stateOf(error) === "23505" && serverError(error)?.constraint === index;
}

/** The SQLSTATE of an error of the server. */
export function stateOf(error: unknown): string | undefined {
  return serverError(error)?.code;
}

/** The error as the driver threw it, also when Sequelize has wrapped it. */
function serverError(error: unknown): pg.DatabaseError | undefined {
  const original =
    error instanceof DatabaseError || error instanceof UniqueConstraintError ? error.parent : error;
  return original instanceof pg.DatabaseError ? original : undefined;
}
