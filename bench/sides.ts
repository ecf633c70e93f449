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
  /** Headers that every request needs. */
  credentials: Record<string, string>;
  /** The processes whose memory and CPU time are its own. PostgreSQL and Redis, which both use, are nobody's. */
  pids: number[];
  stop(): Promise<void>;
}

interface Program {
  /** Names its CPU profile. */
  name: string;
  entry: string;
  /** Modules that are loaded before it. */
  imports: readonly string[];
  environment: Record<string, string>;
}

const ROOT = join(import.meta.dirname, "..");
const START_TIMEOUT_MS = 30_000;
const OPEN_TO_ALL = join(import.meta.dirname, "open-to-all.ts");
/** The admin of Rollcall. */
export const ADMIN = { email: "admin@example.com", password: "the password of the benchmark" };

/** The METRICS_PORTs of Rollcall's two processes. */
export interface MetricsPorts {
  gateway: number;
  users: number;
}

export interface RollcallOptions {
  profileDir?: string | undefined;
  metricsPorts?: MetricsPorts;
  /**
   * What stands between a request and its action. "api-key": every request is authenticated. "token-and-limits": by an
   * access token, and it is counted, though no limit is reached. "none": anybody may do anything, which only the benchmark
   * can set up.
   */
  guards?: "api-key" | "token-and-limits" | "none";
}

/**
 * Rollcall as two processes that talk over NATS, which is counted with them: the gateway, and the users service with
 * that of logins.
 */
export async function startRollcall(
  servers: Servers,
  { profileDir, metricsPorts, guards = "api-key" }: RollcallOptions = {},
): Promise<Side> {
  const metricsOn = (name: keyof MetricsPorts): Record<string, string> =>
    metricsPorts ? { METRICS_PORT: String(metricsPorts[name]) } : {};
  const imports = guards === "none" ? [OPEN_TO_ALL] : [];
  const node = {
    DATABASE_URL: servers.databaseUrl,
    NATS_URL: servers.natsUrl,
    REDIS_URL: servers.redisUrl,
    SECRET: randomBytes(32).toString("hex"),
    AUTH_KEYS: randomBytes(32).toString("hex"),
    ADMIN_EMAIL: ADMIN.email,
    ADMIN_PASSWORD: ADMIN.password,
    LOG_LEVEL: "warn",
    // The one client of a benchmark sends what no client of the product should.
    ...(guards === "token-and-limits"
      ? { RATE_LIMIT: "on", RATE_LIMIT_READS: "100000000/1m", RATE_LIMIT_WRITES: "100000000/1m" }
      : { RATE_LIMIT: "off" }),
  };
  const programsOn = (port: string): Program[] => [
    {
      name: "users",
      entry: "bootstrap/start.js",
      imports,
      environment: { ...node, ...metricsOn("users"), SERVICES: "users,auth", NODE_ID: "users" },
    },
    {
      name: "gateway",
      entry: "bootstrap/start.js",
      imports,
      environment: {
        ...node,
        ...metricsOn("gateway"),
        SERVICES: "api",
        NODE_ID: "gateway",
        PORT: port,
        HOST: "127.0.0.1",
      },
    },
  ];
  const authenticate = { "api-key": makeApiKey, "token-and-limits": logIn, none: async () => ({}) }[guards];
  const side = await startSide({ name: "Rollcall", profileDir, programsOn, authenticate });
  return { ...side, pids: [...side.pids, servers.natsPid] };
}

/** The peer: one Fastify process. */
export function startPeer({ databaseUrl, redisUrl }: Servers, profileDir?: string): Promise<Side> {
  const programsOn = (port: string): Program[] => [
    {
      name: "peer",
      entry: "bench/peers/fastify.ts",
      imports: [],
      environment: { DATABASE_URL: databaseUrl, REDIS_URL: redisUrl, PORT: port, HOST: "127.0.0.1" },
    },
  ];
  return startSide({ name: "peer", profileDir, programsOn, authenticate: async () => ({}) });
}

/** A stock Moleculer system of two processes, as its documentation shows it, with its cacher and its metrics. */
export async function startStockMoleculer({ databaseUrl, natsUrl, redisUrl }: Servers): Promise<Side> {
  const metricsPorts = [String(await freePort()), String(await freePort())];
  const programsOn = (port: string): Program[] =>
    ["users", "gateway"].map((role, index) => ({
      name: `stock-${role}`,
      entry: "bench/peers/moleculer.ts",
      imports: [],
      environment: {
        ROLE: role,
        PORT: port,
        METRICS_PORT: metricsPorts[index] ?? "",
        DATABASE_URL: databaseUrl,
        NATS_URL: natsUrl,
        REDIS_URL: redisUrl,
      },
    }));
  return startSide({
    name: "stock Moleculer",
    profileDir: undefined,
    programsOn,
    authenticate: async () => ({}),
  });
}

/** Logs in as the admin and makes an API key, which is valid for longer than an access token. */
async function makeApiKey(baseUrl: string): Promise<Record<string, string>> {
  const { key } = await post<{ key: string }>(
    `${baseUrl}/api/v1/auth/api-keys`,
    { name: "benchmark", scopes: ["users:read", "users:write"] },
    await logIn(baseUrl),
  );
  return { "x-api-key": key };
}

async function logIn(baseUrl: string): Promise<Record<string, string>> {
  const { accessToken } = await post<{ accessToken: string }>(`${baseUrl}/api/v1/auth/login`, ADMIN);
  return { authorization: `Bearer ${accessToken}` };
}

async function post<T>(url: string, body: object, headers: Record<string, string> = {}): Promise<T> {
  const response = await fetch(url, {
    method: "POST",
    headers: { "content-type": "application/json", ...headers },
    body: JSON.stringify(body),
  });
  if (!response.ok) throw new Error(`${url} was answered with ${response.status}`);
  return (await response.json()) as T;
}

interface SideOptions {
  name: string;
  profileDir: string | undefined;
  programsOn: (port: string) => Program[];
  /** Gets the headers of authenticated requests from a side that is up; throws while it is not. */
  authenticate: (baseUrl: string) => Promise<Record<string, string>>;
}

/** Starts the processes of a side and waits until it answers a request that goes all the way to the database. */
async function startSide({ name, profileDir, programsOn, authenticate }: SideOptions): Promise<Side> {
  const port = String(await freePort());
  const baseUrl = `http://127.0.0.1:${port}`;
  const children = programsOn(port).map((program) => launch(program, profileDir));
  let credentials: Record<string, string> = {};
  const answers = async (): Promise<boolean> => {
    credentials = await authenticate(baseUrl);
    return (await fetch(`${baseUrl}/api/v1/users?limit=1`, { headers: credentials })).ok;
  };
  await waitFor(async () => children.some(hasEnded) || (await answers()), {
    description: `${name} to answer`,
    timeoutMs: START_TIMEOUT_MS,
    intervalMs: 500,
  });
  if (children.some(hasEnded)) throw new Error(`${name} ended while it was starting`);
  return {
    name,
    baseUrl,
    credentials,
    pids: children.map((child) => child.pid as number),
    stop: async () => {
      await Promise.all(children.map(terminate));
    },
  };
}

function launch(
  { name, entry, imports, environment }: Program,
  profileDir: string | undefined,
): ChildProcess {
  const profiling = profileDir
    ? ["--cpu-prof", `--cpu-prof-dir=${profileDir}`, `--cpu-prof-name=${name}.cpuprofile`]
    : [];
  const preloading = imports.map((module) => `--import=${module}`);
  return spawn(process.execPath, [...profiling, ...preloading, join(ROOT, entry)], {
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
