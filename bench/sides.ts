import { spawn, type ChildProcess } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { join } from "node:path";

import { freePort } from "../test/support/ports.ts";
import { RUN_VARIABLE } from "../test/support/test-run.ts";
import { waitFor } from "../test/support/wait-for.ts";
import type { Servers } from "./servers.ts";

/** One of the two systems that are compared. */
export interface Side {
  name: string;
  baseUrl: string;
  /** The processes whose memory and CPU time are its own. PostgreSQL and Redis, which both use, are nobody's. */
  pids: number[];
  stop(): Promise<void>;
}

interface Program {
  /** Names its CPU profile. */
  name: string;
  entry: string;
  environment: Record<string, string>;
}

const ROOT = join(import.meta.dirname, "..");
const START_TIMEOUT_MS = 30_000;

/** The METRICS_PORTs of Rollcall's two processes. */
export interface MetricsPorts {
  gateway: number;
  users: number;
}

/** Rollcall as two processes that talk over NATS, which is counted with them: the gateway, and the users service. */
export async function startRollcall(
  servers: Servers,
  profileDir?: string,
  metricsPorts?: MetricsPorts,
): Promise<Side> {
  const metricsOn = (name: keyof MetricsPorts): Record<string, string> =>
    metricsPorts ? { METRICS_PORT: String(metricsPorts[name]) } : {};
  const node = {
    DATABASE_URL: servers.databaseUrl,
    NATS_URL: servers.natsUrl,
    REDIS_URL: servers.redisUrl,
    SECRET: randomBytes(32).toString("hex"),
    LOG_LEVEL: "warn",
    // The one client of a benchmark sends what no client of the product should.
    RATE_LIMIT: "off",
  };
  const side = await startSide("Rollcall", profileDir, (port) => [
    {
      name: "users",
      entry: "bootstrap/start.ts",
      environment: { ...node, ...metricsOn("users"), SERVICES: "users", NODE_ID: "users" },
    },
    {
      name: "gateway",
      entry: "bootstrap/start.ts",
      environment: {
        ...node,
        ...metricsOn("gateway"),
        SERVICES: "api",
        NODE_ID: "gateway",
        PORT: port,
        HOST: "127.0.0.1",
      },
    },
  ]);
  return { ...side, pids: [...side.pids, servers.natsPid] };
}

/** The peer: one Fastify process. */
export function startPeer({ databaseUrl, redisUrl }: Servers, profileDir?: string): Promise<Side> {
  return startSide("peer", profileDir, (port) => [
    {
      name: "peer",
      entry: "bench/peers/fastify.ts",
      environment: { DATABASE_URL: databaseUrl, REDIS_URL: redisUrl, PORT: port, HOST: "127.0.0.1" },
    },
  ]);
}

/** Starts the processes of a side and waits until it answers a request that goes all the way to the database. */
async function startSide(
  name: string,
  profileDir: string | undefined,
  programsOn: (port: string) => Program[],
): Promise<Side> {
  const port = String(await freePort());
  const baseUrl = `http://127.0.0.1:${port}`;
  const children = programsOn(port).map((program) => launch(program, profileDir));
  const answers = async (): Promise<boolean> => (await fetch(`${baseUrl}/api/v1/users?limit=1`)).ok;
  await waitFor(async () => children.some(hasEnded) || (await answers()), {
    description: `${name} to answer`,
    timeoutMs: START_TIMEOUT_MS,
    intervalMs: 500,
  });
  if (children.some(hasEnded)) throw new Error(`${name} ended while it was starting`);
  return {
    name,
    baseUrl,
    pids: children.map((child) => child.pid as number),
    stop: async () => {
      await Promise.all(children.map(terminate));
    },
  };
}

function launch({ name, entry, environment }: Program, profileDir: string | undefined): ChildProcess {
  const profiling = profileDir
    ? ["--cpu-prof", `--cpu-prof-dir=${profileDir}`, `--cpu-prof-name=${name}.cpuprofile`]
    : [];
  return spawn(process.execPath, [...profiling, join(ROOT, entry)], {
    // Whatever else is in our environment must not configure what is measured.
    env: { ...inherited("PATH", "HOME", "TMPDIR", RUN_VARIABLE), NODE_ENV: "production", ...environment },
    stdio: ["ignore", "inherit", "inherit"],
  });
}

function inherited(...names: string[]): Record<string, string> {
  return Object.fromEntries(names.flatMap((name) => (process.env[name] ? [[name, process.env[name]]] : [])));
}

const hasEnded = ({ exitCode, signalCode }: ChildProcess): boolean =>
  exitCode !== null || signalCode !== null;

async function terminate(child: ChildProcess): Promise<void> {
  if (hasEnded(child)) return;
  const exited = once(child, "exit");
  child.kill("SIGTERM");
  await exited;
}
