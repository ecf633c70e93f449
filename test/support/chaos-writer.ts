import { setTimeout as sleep } from "node:timers/promises";

import { startNode, type RunningNode } from "../../bootstrap/running-node.ts";
import { loadConfig } from "../../lib/config.ts";
import { call } from "../../lib/contracts.ts";
import { PATIENCE } from "./patience.ts";
import { newUser } from "./rest-client.ts";
import { silentLogger } from "./silent-logger.ts";

/** Request ids that begin so are refused by the database, when their row has been changed. */
export const ROLLED_BACK = "rolled-back";

const USERS = 64;
const WORKERS = 16;
/** Each twentieth transaction is rolled back: 5 %. */
const ROLLBACK_EVERY = 20;

/**
 * Changes users through the unit of work of the product, as fast as it is told, in this process and without NATS, which
 * the chaos takes away: each change is known to be committed or rolled back.
 */
export class ChaosWriter {
  /** The last version of each user that was committed, by id. */
  readonly versions = new Map<string, number>();
  /** What failed that should not have, and what did not that should. */
  readonly failures: unknown[] = [];
  rolledBack = 0;
  readonly #node: RunningNode;
  readonly #intervalMs: number;
  readonly #startedAt = performance.now();
  #count = 0;
  #isStopped = false;
  #workers: Promise<unknown> = Promise.resolve();

  private constructor(node: RunningNode, transactionsPerSecond: number) {
    this.#node = node;
    this.#intervalMs = 1000 / transactionsPerSecond;
  }

  static async start(databaseUrl: string, transactionsPerSecond: number): Promise<ChaosWriter> {
    const config = loadConfig({
      SERVICES: "users",
      NODE_ID: "writer",
      DATABASE_URL: databaseUrl,
      SECRET: "0".repeat(32),
      DRAIN_DELAY_MS: "0",
      LOG_LEVEL: "silent",
      ...PATIENCE,
    });
    const node = await startNode(config, silentLogger);
    const users = await Promise.all(
      Array.from({ length: USERS }, () => call(node.broker, "users.create", newUser())),
    );
    const writer = new ChaosWriter(node, transactionsPerSecond);
    for (const { id, version } of users) writer.versions.set(id, version);
    const ids = users.map(({ id }) => id);
    // A user has one worker, so that the order of its changes is known.
    const shares = Array.from({ length: WORKERS }, (_, worker) =>
      ids.filter((__, index) => index % WORKERS === worker),
    );
    writer.#workers = Promise.all(shares.map((share) => writer.#work(share)));
    return writer;
  }

  get committed(): number {
    return [...this.versions.values()].reduce((sum, version) => sum + version, 0);
  }

  /**
   * Ends the writing.
   *
   * @returns how many transactions were made in a second
   */
  async stop(): Promise<number> {
    this.#isStopped = true;
    await this.#workers;
    const seconds = (performance.now() - this.#startedAt) / 1000;
    await this.#node.stop();
    return this.#count / seconds;
  }

  async #work(ids: readonly string[]): Promise<void> {
    while (!this.#isStopped) {
      const number = this.#count++;
      const dueAt = this.#startedAt + number * this.#intervalMs;
      await sleep(Math.max(0, dueAt - performance.now()));
      await this.#change(ids[number % ids.length] ?? "", number);
    }
  }

  async #change(id: string, number: number): Promise<void> {
    const isRollback = number % ROLLBACK_EVERY === 0;
    const requestID = `${isRollback ? ROLLED_BACK : "committed"}-${number}`;
    try {
      const { version } = await call(
        this.#node.broker,
        "users.update",
        { id, nickname: requestID },
        { requestID },
      );
      this.versions.set(id, version);
      if (isRollback) this.failures.push(`${requestID} was committed`);
    } catch (error) {
      if (isRollback) this.rolledBack += 1;
      else this.failures.push(error);
    }
  }
}
