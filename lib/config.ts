import { readFileSync } from "node:fs";
import { hostname } from "node:os";
import { z } from "zod";
import { contradictionsIn, type ConfigProblem } from "./config-contradictions.ts";
import { EMAIL_ADDRESS, EMAIL_ADDRESS_MAX_LENGTH } from "./email-address.ts";
import { IMAGE_SETTINGS } from "./image-settings.ts";
import { quota, trustedProxies } from "./rate-limit-settings.ts";
import { listOf, milliseconds, originOf, SECRET_ADVICE, urlOf, wholeNumber } from "./setting-types.ts";
import { StartupError } from "./startup-error.ts";

/** Exit code for a wrong configuration: EX_CONFIG of sysexits.h. */
export const EXIT_CONFIG = 78;

/** The services this code base has, in the order in which they start. */
export const SERVICE_NAMES = ["users", "auth", "events", "images", "cache", "api"] as const;
export type ServiceName = (typeof SERVICE_NAMES)[number];

/**
 * Every setting of a node. The key is the environment variable; `describe` is its documentation, from which
 * `.env.example` and the table in the README are generated.
 */
const schema = z.object({
  PORT: wholeNumber(0, 65_535).prefault("3000").describe("TCP port of the REST gateway; 0 takes a free one."),
  HOST: z
    .string()
    .min(1)
    .default("127.0.0.1")
    .describe("Address the REST gateway and the metrics listen on."),
  METRICS_PORT: wholeNumber(0, 65_535)
    .optional()
    .describe("TCP port for Prometheus and probes: /metrics, /health/live, /health/ready. Unset: none."),
  DATA_DIR: z
    .string()
    .min(1)
    .default("./data")
    .describe("Folder for the data of embedded mode, and for images with STORAGE=disk."),
  SERVICES: z
    .string()
    .default("all")
    .transform((value) => (value === "all" ? SERVICE_NAMES.join(",") : value === "none" ? "" : value))
    .pipe(listOf(z.enum(SERVICE_NAMES)))
    .describe(`Services this node runs, separated by commas: ${SERVICE_NAMES.join(", ")}; or all, or none.`),
  NODE_ID: z
    .string()
    .regex(/^[A-Za-z0-9_-]{1,64}$/, "must be 1 to 64 letters, digits, - or _")
    .default(() => `${hostname().replaceAll(/[^A-Za-z0-9_-]/g, "-")}-${process.pid}`.slice(-64))
    .describe("Name of this node, unique in the cluster. Default: host name and process id."),
  SECRET: z
    .string()
    .min(32, `must have 32 characters or more: ${SECRET_ADVICE}`)
    .optional()
    .describe(
      "Key (32 characters or more) that signs cursors and URLs; the same on every node. Required with NATS_URL, otherwise generated and kept in DATA_DIR.",
    ),
  SERVICE_PRINCIPAL: z
    .string()
    .regex(/^[A-Za-z0-9_-]{1,64}$/, "must be 1 to 64 letters, digits, - or _")
    .default("rollcall")
    .describe(
      "Name under which this node makes calls of its own, which may do everything: the actor of its changes.",
    ),
  SIGNUP: z
    .enum(["open", "admin"])
    .default("admin")
    .describe("Who may create users: everybody (open), or only admins and API keys. The same on every node."),
  AUTH_KEYS: listOf(z.string().regex(/^[\da-f]{64}$/, "must be 64 hexadecimal digits"))
    .refine((keys) => keys.length > 0, "must hold a key")
    .optional()
    .describe(
      "Ed25519 private keys (64 hexadecimal digits each, separated by commas) of access tokens: the first signs, all verify. For auth; required with NATS_URL, otherwise generated and kept in DATA_DIR.",
    ),
  AUTH_ISSUER: z
    .string()
    .optional()
    .describe(
      "Issuer (`iss`) whose access tokens are accepted too; then only admins change email addresses. Set with AUTH_JWKS_URL and AUTH_AUDIENCE, the same on nodes of api and users.",
    ),
  AUTH_JWKS_URL: urlOf("http", "https").optional().describe("Where the keys of AUTH_ISSUER are."),
  AUTH_AUDIENCE: z.string().optional().describe("Audience (`aud`) that tokens of AUTH_ISSUER must be for."),
  ADMIN_EMAIL: z
    .string()
    .max(EMAIL_ADDRESS_MAX_LENGTH)
    .regex(EMAIL_ADDRESS, "must be an email address")
    .optional()
    .describe(
      "The admin that auth makes when no user has this address. Unset in embedded mode: one is made.",
    ),
  ADMIN_PASSWORD: z
    .string()
    .min(10)
    .max(256)
    .optional()
    .describe("Its first password, 10 characters or more; never changes one that there is."),
  DATABASE_URL: urlOf("postgres", "postgresql")
    .optional()
    .describe("PostgreSQL primary. Unset: an embedded PostgreSQL with its data in DATA_DIR."),
  DATABASE_REPLICA_URLS: listOf(urlOf("postgres", "postgresql"))
    .default([])
    .describe("Read replicas for lists, separated by commas."),
  DATABASE_POOL_MAX: wholeNumber(1, 500).prefault("10").describe("Connections to each database server."),
  DATABASE_ACQUIRE_TIMEOUT_MS: milliseconds(100, 60_000)
    .prefault("2000")
    .describe("How long a request waits for a free database connection, or for a new one to be made."),
  DATABASE_STATEMENT_TIMEOUT_MS: milliseconds(100, 60_000)
    .prefault("3000")
    .describe("PostgreSQL ends a statement after this time. Must be below REQUEST_TIMEOUT_MS."),
  NATS_URL: listOf(urlOf("nats", "tls"))
    .refine((servers) => servers.length > 0, "must name a server")
    .optional()
    .describe("NATS servers, separated by commas. Unset: all calls stay in this process."),
  REDIS_URL: urlOf("redis", "rediss")
    .optional()
    .describe("Redis for the cache and the rate limits. Unset: both are in the memory of this process."),
  REDIS_TIMEOUT_MS: milliseconds(1, 5000)
    .prefault("20")
    .describe(
      "A request waits for Redis no longer than this; then the node does without Redis until it answers in time again.",
    ),
  CACHE: z
    .enum(["tiered", "memory", "none"])
    .default("tiered")
    .describe("Where reads are cached: tiered (in memory, and in Redis if there is one), memory, or none."),
  CACHE_TTL_SECONDS: wholeNumber(1, 604_800)
    .prefault("86400")
    .describe("Longest life of a cache entry. Changes do not wait for it: they reach every cache at once."),
  CACHE_MAX_ENTRIES: wholeNumber(1, 10_000_000)
    .prefault("50000")
    .describe("Most entries that a node caches in its memory."),
  CACHE_MAX_MEMORY_MB: wholeNumber(1, 65_536)
    .prefault("64")
    .describe("Most memory that a node uses for its cache, in MiB."),
  REQUEST_TIMEOUT_MS: milliseconds(500, 60_000)
    .prefault("4000")
    .describe("A call between services fails with 504 after this time."),
  IDEMPOTENCY_TTL_HOURS: wholeNumber(1, 720)
    .prefault("24")
    .describe("How long the result of a write is kept under its Idempotency-Key."),
  EVENT_LOG_RETENTION_DAYS: wholeNumber(1, 3650)
    .prefault("30")
    .describe("How long events are kept in the log and in the stream after they were published."),
  DEAD_LETTER_RETENTION_DAYS: wholeNumber(1, 3650)
    .prefault("90")
    .describe("How long after its last attempt an event is kept that a durable consumer could not handle."),
  EVENTS_STREAM_REPLICAS: z
    .enum(["1", "3", "5"])
    .default("1")
    .transform(Number)
    .describe("Servers of a NATS cluster that keep the stream of events: 1, 3 or 5."),
  EVENTS_POLL_INTERVAL_MS: milliseconds(10, 60_000)
    .prefault("1000")
    .describe("How often the relay looks for events of which it was not told."),
  ...IMAGE_SETTINGS,
  START_DEADLINE_MS: milliseconds(1000, 300_000)
    .prefault("30000")
    .describe(
      "A node that is not ready by then exits with 1. The start of an embedded PostgreSQL is not counted.",
    ),
  STOP_DEADLINE_MS: milliseconds(1000, 300_000)
    .prefault("15000")
    .describe("A node that has not stopped by then after SIGTERM exits hard with 1."),
  DRAIN_DELAY_MS: milliseconds(0, 60_000)
    .prefault("1000")
    .describe(
      "How long a stopping node still answers, so that callers and load balancers learn it is leaving.",
    ),
  CORS_ORIGINS: listOf(originOf)
    .default([])
    .describe("Origins that browsers may call from, separated by commas, matched exactly."),
  TRUST_PROXY: trustedProxies
    .prefault("0")
    .describe(
      "Proxies whose X-Forwarded-For is believed: how many of them are in front of the gateway, or their addresses and networks, separated by commas.",
    ),
  RATE_LIMIT: z.enum(["on", "off"]).default("on").describe("Whether the gateway limits requests."),
  RATE_LIMIT_READS: quota
    .prefault("60000/1m")
    .describe("Reads of a user or API key, or else of an address, such as 100/60s, 10/15m or 1000/1h."),
  RATE_LIMIT_WRITES: quota.prefault("12000/1m").describe("The same of writes."),
  RATE_LIMIT_UPLOADS: quota
    .prefault("300/1m")
    .describe("The same of uploaded images, of which each takes a second of a processor or so."),
  RATE_LIMIT_SIGN_UP: quota
    .prefault("20/1h")
    .describe("Users that an address may create, unless an admin or an API key does."),
  RATE_LIMIT_LOGIN: quota.prefault("60/1m").describe("Logins and changes of passwords from an address."),
  RATE_LIMIT_WRONG_PASSWORDS: quota
    .prefault("10/15m")
    .describe("Wrong passwords for an account, from wherever they come."),
  RATE_LIMIT_WRONG_CREDENTIALS: quota
    .prefault("300/1m")
    .describe(
      "Refused tokens and API keys from an address, which are then answered with 429 instead of 401.",
    ),
  LOG_LEVEL: z
    .enum(["trace", "debug", "info", "warn", "error", "fatal", "silent"])
    .default("info")
    .describe("Least severe level that is logged."),
  LOG_FORMAT: z
    .enum(["auto", "json", "pretty"])
    .default("auto")
    .describe("json, pretty, or auto: pretty on a terminal."),
});

/** Their defaults are made at the start. */
const OF_HOST = new Set(["NODE_ID", "IMAGE_WORKERS"]);

/** A setting as documentation sees it. */
export interface SettingDescription {
  name: string;
  description: string;
  /** As it would be written in the environment; undefined when there is none or it depends on the host. */
  defaultValue: string | undefined;
}

export type Settings = z.infer<typeof schema>;

/** A node's whole configuration: validated, frozen, keyed by environment variable. */
export type Config = Readonly<Settings>;

type Environment = Readonly<Record<string, string | undefined>>;

/**
 * Reads the configuration from environment variables. Each `NAME` may instead be given as `NAME_FILE`, a path to a
 * file that holds the value (secrets mounted by Docker or Kubernetes); a trailing newline is dropped.
 *
 * @param defaults in place of those of the schema, for what the environment leaves unset
 * @throws StartupError with exit code 78 that lists every wrong variable at once
 */
export function loadConfig(environment: Environment = process.env, defaults: Environment = {}): Config {
  const config: Record<string, unknown> = {};
  const problems: ConfigProblem[] = [];
  for (const [name, type] of Object.entries(schema.shape)) {
    const parsed = type.safeParse(valueOf(name, environment, problems) ?? defaults[name]);
    if (parsed.success) config[name] = Object.freeze(parsed.data);
    else problems.push(...parsed.error.issues.map(({ message }) => ({ name, message })));
  }
  problems.push(...contradictionsIn(config, new Set(problems.map(({ name }) => name))));

  if (problems.length > 0) {
    const lines = problems.map(({ name, message }) => `  ${name}: ${message}`);
    throw new StartupError(`The configuration is wrong:\n${lines.join("\n")}`, { exitCode: EXIT_CONFIG });
  }
  return Object.freeze(config as Settings);
}

function valueOf(name: string, environment: Environment, problems: ConfigProblem[]): string | undefined {
  const direct = environment[name];
  const path = environment[`${name}_FILE`];
  if (direct && path) {
    problems.push({ name, message: `set either ${name} or ${name}_FILE, not both` });
    return undefined;
  }
  if (path) {
    try {
      return readFileSync(path, "utf8").replace(/\r?\n$/, "");
    } catch (error) {
      problems.push({ name, message: `${name}_FILE cannot be read: ${(error as Error).message}` });
      return undefined;
    }
  }
  // An empty variable counts as unset: that is what `NAME=` means in compose files and .env files.
  return direct === "" ? undefined : direct;
}

/** Every setting in the order of the schema, for generated documentation. */
export function describeSettings(): SettingDescription[] {
  return Object.entries(schema.shape).map(([name, type]) => {
    const fallback = OF_HOST.has(name) ? undefined : defaultOf(type);
    return { name, description: type.description ?? "", defaultValue: fallback };
  });
}

function defaultOf(type: z.ZodType): string | undefined {
  // In the JSON schema of what goes in, a default is as it would be written in the environment.
  const { default: value } = z.toJSONSchema(type, { io: "input", unrepresentable: "any" });
  return typeof value === "string" ? value : undefined;
}
