import { setTimeout as sleep } from "node:timers/promises";

import type { EnvironmentContext, JestEnvironmentConfig } from "@jest/environment";
import type { Circus } from "@jest/types";
import { TestEnvironment } from "jest-environment-node";

/** Kinds of resources that keep a process alive and that a test file has to close before it ends. */
const WATCHED = new Set([
  "TCPServerWrap",
  "TCPSocketWrap",
  "TLSWrap",
  "UDPWrap",
  "ProcessWrap",
  "Timeout",
  "MessagePort",
  "FSEventWrap",
]);

/** A socket that was closed is listed until the kernel has said so. */
const GRACE_MS = 10_000;
const LOOK_INTERVAL_MS = 25;

/** Node's test environment, which fails a test file that leaves sockets, servers, timers or child processes behind. */
export default class LeakCheckEnvironment extends TestEnvironment {
  readonly #before: Map<string, number>;
  readonly #testPath: string;
  #hasFailure = false;

  constructor(config: JestEnvironmentConfig, context: EnvironmentContext) {
    super(config, context);
    this.#before = countResources();
    this.#testPath = context.testPath;
  }

  /** Called by jest for each step of the file. */
  handleTestEvent(event: Circus.AsyncEvent): void {
    const isFailure =
      event.name === "hook_failure" || (event.name === "test_done" && event.test.errors.length > 0);
    this.#hasFailure ||= isFailure;
  }

  override async teardown(): Promise<void> {
    // A test that fails often leaves something open. Jest would show this error instead of that failure.
    const leaks = this.#hasFailure ? [] : await this.#waitForLeaks();
    await super.teardown();
    if (leaks.length > 0) {
      throw new Error(
        `${this.#testPath} left open: ${leaks.join(", ")}. Close them in afterEach or afterAll.`,
      );
    }
  }

  async #waitForLeaks(): Promise<string[]> {
    const deadline = performance.now() + GRACE_MS;
    for (;;) {
      const leaks = this.#leaks();
      if (leaks.length === 0 || performance.now() >= deadline) return leaks;
      await sleep(LOOK_INTERVAL_MS);
    }
  }

  #leaks(): string[] {
    return [...countResources()]
      .map(([kind, count]) => ({ kind, extra: count - (this.#before.get(kind) ?? 0) }))
      .filter(({ extra }) => extra > 0)
      .map(({ kind, extra }) => `${extra} ${kind}`);
  }
}

/** Only what keeps the process alive is counted: Node does not list a timer or socket that was unref'ed. */
function countResources(): Map<string, number> {
  const counts = new Map<string, number>();
  for (const kind of process.getActiveResourcesInfo()) {
    if (WATCHED.has(kind)) counts.set(kind, (counts.get(kind) ?? 0) + 1);
  }
  return counts;
}
