/**
 * One autocannon run in a process of its own, so that its garbage and its event loop do not disturb the sampling of
 * the harness. The harness forks it, sends a `LoadSpec` and gets a `LoadResult`.
 */
import { randomBytes } from "node:crypto";
import autocannon from "autocannon";

import { setProcessPriority } from "../lib/priority.ts";
import { latenciesOf } from "./statistics.ts";

/** What to send, to whom and for how long. */
export interface LoadSpec {
  baseUrl: string;
  /** Each request takes one of them at random. */
  paths: string[];
  /** Given: every request is a POST that creates another user. */
  creates: boolean;
  headers: Record<string, string>;
  connections: number;
  seconds: number;
  /** Given: it does not wait for processors that others have, as on a machine of its own. Only root may. */
  isFirst?: boolean;
}

/** Nice levels. */
const FIRST = -10;

/** What came back. Times are milliseconds. */
export interface LoadResult {
  requestsPerSecond: number;
  p50: number;
  p99: number;
  completed: number;
  /** Responses other than 2xx, by status. */
  unexpected: Record<string, number>;
  /** Broken connections and requests without an answer. */
  failed: number;
}

process.once("message", (spec: LoadSpec) => {
  if (spec.isFirst) goFirst();
  void run(spec).then((result) => process.send?.(result, () => process.disconnect()));
});

async function run(spec: LoadSpec): Promise<LoadResult> {
  const latencies: number[] = [];
  const result = await new Promise<autocannon.Result>((resolve, reject) => {
    const instance = autocannon(
      {
        url: spec.baseUrl,
        connections: spec.connections,
        duration: spec.seconds,
        headers: spec.headers,
        requests: [{ setupRequest: (request) => ({ ...request, ...nextRequest(spec) }) }],
      },
      (error: Error | null, done) => (error ? reject(error) : resolve(done)),
    );
    // autocannon's own histogram has whole milliseconds, too coarse for answers that take two.
    instance.on("response", (_client, _status, _bytes, milliseconds) => latencies.push(milliseconds));
  });

  const { p50, p99 } = latenciesOf(latencies);
  return {
    requestsPerSecond: result.requests.total / result.duration,
    p50,
    p99,
    completed: result.requests.total,
    unexpected: Object.fromEntries(
      Object.entries(result.statusCodeStats ?? {})
        .filter(([status]) => !status.startsWith("2"))
        .map(([status, { count = 0 }]) => [status, count]),
    ),
    failed: result.errors,
  };
}

function goFirst(): void {
  if (process.getuid?.() !== 0) {
    console.error("the load generator waits for processors like all others, as it is not run by root");
    return;
  }
  void setProcessPriority(FIRST);
}

function nextRequest({ paths, creates }: LoadSpec): { path: string; method: "GET" | "POST"; body?: string } {
  const path = paths[Math.floor(Math.random() * paths.length)] as string;
  return creates ? { path, method: "POST", body: newUser() } : { path, method: "GET" };
}

function newUser(): string {
  const unique = randomBytes(8).toString("hex");
  return JSON.stringify({
    email: `load.${unique}@example.com`,
    firstName: "Ngozi",
    lastName: `Adichie ${unique}`,
    country: "NG",
    bio: "Writes novels, short stories and nonfiction.",
  });
}
