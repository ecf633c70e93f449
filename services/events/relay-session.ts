import type pg from "pg";
import { limitGoodbye, type Statement } from "../../lib/database-connection.ts";
import type { Database } from "../../lib/database.ts";

/** The advisory lock that the relay holds that leads. One above that of the migrations. */
export const RELAY_LOCK = "8245937405158780013";

/** PostgreSQL ends the session of a relay that says nothing for so long: it is frozen, or its host is gone. */
const SESSION_TIMEOUT_MS = 3000;
const KEEP_ALIVE_MS = 750;

const TRY_LOCK = { text: `SELECT pg_try_advisory_lock(${RELAY_LOCK}) AS "isLeader"` };

/**
 * The connection that makes a relay the leader. The lock belongs to it, and everything that only a leader may write is
 * written through it: who is no longer the leader has no connection to write with.
 */
export class RelaySession {
  readonly #client: pg.Client;
  readonly #lost = new AbortController();
  #aliveUntil = 0;
  #keepAlive: NodeJS.Timeout | undefined;

  private constructor(client: pg.Client) {
    this.#client = client;
    const lose = (reason?: Error): void =>
      this.#lost.abort(reason ?? new Error("The connection was closed."));
    client.on("error", lose);
    client.on("end", () => lose());
  }

  /** @throws the errors of `pg` */
  static async open(database: Database): Promise<RelaySession> {
    const session = new RelaySession(await database.openSession());
    try {
      await session.query({ text: `SET idle_session_timeout = ${SESSION_TIMEOUT_MS}` }, []);
    } catch (error) {
      await session.close();
      throw error;
    }
    // A failure of it is heard as the end of the connection.
    const ping = (): void => void session.query({ text: "SELECT 1" }, []).catch(() => undefined);
    session.#keepAlive = setInterval(ping, KEEP_ALIVE_MS);
    return session;
  }

  /** Aborted when the connection is lost, and with it the leadership. */
  get lost(): AbortSignal {
    return this.#lost.signal;
  }

  /**
   * Whether the connection is known to live at this moment. False after a process was frozen, before it has even read
   * that its connection is closed.
   */
  get isAlive(): boolean {
    return !this.lost.aborted && performance.now() < this.#aliveUntil;
  }

  /** Makes this session the leader until it ends, if there is no other one. */
  async tryToLead(): Promise<boolean> {
    const [row] = await this.query<{ isLeader: boolean }>(TRY_LOCK, []);
    return row?.isLeader === true;
  }

  /** Calls `listener` at each NOTIFY on `channel`. */
  async listen(channel: string, listener: () => void): Promise<void> {
    this.#client.on("notification", listener);
    await this.query({ text: `LISTEN ${channel}` }, []);
  }

  /** Runs a statement; an error of the connection ends the session. */
  async query<Row extends pg.QueryResultRow>(statement: Statement, values: unknown[]): Promise<Row[]> {
    this.lost.throwIfAborted();
    const sentAt = performance.now();
    try {
      const { rows } = await this.#client.query<Row>({ ...statement, values });
      this.#aliveUntil = sentAt + SESSION_TIMEOUT_MS;
      return rows;
    } catch (error) {
      this.#lost.abort(error);
      throw error;
    }
  }

  /** Gives the leadership up. */
  async close(): Promise<void> {
    clearInterval(this.#keepAlive);
    limitGoodbye(this.#client);
    // One that is lost already is as good as ended.
    await this.#client.end().catch(() => undefined);
  }
}
