import { spawn } from "node:child_process";
import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";

import { freePort } from "./ports.ts";
import { RestClient } from "./rest-client.ts";
import { startServerProcess, type TestServer } from "./server-process.ts";
import { temporaryDir } from "./test-run.ts";

export interface TestPrometheus extends TestServer {
  /** The targets that it scrapes, by address, each with its health: `up`, `down` or `unknown`. */
  targets(): Promise<Readonly<Record<string, string>>>;
  /** The value of a PromQL expression that gives exactly one; undefined when it gives none. */
  query(expression: string): Promise<number | undefined>;
}

/** How often it scrapes, and how long a scrape may take: often enough for a test, and long enough on a busy machine. */
const SCRAPE_INTERVAL = "1s";

/** What is used of the answers of Prometheus' HTTP API. */
interface Answer<Data> {
  readonly status: string;
  readonly data: Data;
}

/**
 * A private Prometheus server on a free loopback port.
 *
 * @param addresses what it scrapes: `127.0.0.1:9100`
 */
export async function startPrometheus(addresses: readonly string[]): Promise<TestPrometheus> {
  const port = await freePort();
  const dir = temporaryDir("prometheus");
  const config = join(dir, "prometheus.yml");
  // JSON is YAML.
  await writeFile(
    config,
    JSON.stringify({
      global: { scrape_interval: SCRAPE_INTERVAL, scrape_timeout: SCRAPE_INTERVAL },
      scrape_configs: [{ job_name: "rollcall", static_configs: [{ targets: addresses }] }],
    }),
  );
  const server = await startServerProcess({
    command: "prometheus",
    args: [
      `--config.file=${config}`,
      `--storage.tsdb.path=${join(dir, "data")}`,
      `--web.listen-address=127.0.0.1:${port}`,
      "--log.level=warn",
    ],
    url: `http://127.0.0.1:${port}`,
    port,
    greeting: "GET /-/ready HTTP/1.0\r\n\r\n",
    expected: "HTTP/1.0 200",
  });

  const client = new RestClient(server.url);
  const get = async <Data>(path: string): Promise<Data> => {
    const response = await client.get(`/api/v1/${path}`);
    const { status, data } = response.json as Answer<Data>;
    if (status !== "success") throw new Error(`Prometheus refused ${path}`);
    return data;
  };
  return {
    ...server,
    async stop() {
      client.close();
      await server.stop();
    },
    async targets() {
      const { activeTargets } = await get<{ activeTargets: { scrapeUrl: string; health: string }[] }>(
        "targets",
      );
      return Object.fromEntries(
        activeTargets.map(({ scrapeUrl, health }) => [new URL(scrapeUrl).host, health]),
      );
    },
    async query(expression) {
      const { result } = await get<{ result: { value: [time: number, value: string] }[] }>(
        `query?query=${encodeURIComponent(expression)}`,
      );
      if (result.length > 1) throw new Error(`${expression} gives ${result.length} values`);
      return result[0] && Number(result[0].value[1]);
    },
  };
}

/**
 * What `promtool check metrics` has to say about what a node shows.
 *
 * @throws {Error} when it cannot be read at all.
 */
export async function complaintsAbout(text: string): Promise<string[]> {
  const promtool = spawn("promtool", ["check", "metrics"], { stdio: ["pipe", "ignore", "pipe"] });
  promtool.stdin.end(text);
  const chunks = await Array.fromAsync<Buffer>(promtool.stderr);
  const output = Buffer.concat(chunks).toString("utf8");
  // 3: read, with complaints.
  const exitCode = promtool.exitCode ?? ((await once(promtool, "exit")) as [number])[0];
  if (exitCode !== 0 && exitCode !== 3) throw new Error(`promtool ended with ${exitCode}: ${output}`);
  return output.split("\n").filter((line) => line !== "");
}
