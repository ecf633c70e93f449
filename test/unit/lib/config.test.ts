import { execFile } from "node:child_process";
import { globSync, readFileSync, writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";

import { describe, expect, test } from "@jest/globals";

import {
  describeSettings,
  EXIT_CONFIG,
  loadConfig,
  SERVICE_NAMES,
  type Config,
} from "../../../lib/config.ts";
import { StartupError } from "../../../lib/startup-error.ts";
import { temporaryDir } from "../../support/test-run.ts";

const ROOT = join(import.meta.dirname, "../../..");
const SECRET = "0123456789abcdef0123456789abcdef";
const KEY = "1".repeat(64);

/** A value of every setting that is not its default, as it is written in the environment, and as it is read. */
const SAMPLES: { [Name in keyof Config]-?: [written: string, read: Config[Name]] } = {
  PORT: ["8080", 8080],
  HOST: ["0.0.0.0", "0.0.0.0"],
  METRICS_PORT: ["9100", 9100],
  DATA_DIR: ["/var/lib/rollcall", "/var/lib/rollcall"],
  SERVICES: ["users", ["users"]],
  NODE_ID: ["users-1", "users-1"],
  SECRET: [SECRET, SECRET],
  SERVICE_PRINCIPAL: ["billing", "billing"],
  SIGNUP: ["open", "open"],
  AUTH_KEYS: [`${KEY},${"2".repeat(64)}`, [KEY, "2".repeat(64)]],
  AUTH_ISSUER: ["https://id.example", "https://id.example"],
  AUTH_JWKS_URL: ["https://id.example/keys", "https://id.example/keys"],
  AUTH_AUDIENCE: ["https://api.example", "https://api.example"],
  ADMIN_EMAIL: ["root@example.com", "root@example.com"],
  ADMIN_PASSWORD: ["correct horse", "correct horse"],
  DATABASE_URL: ["postgres://rollcall@db/rollcall", "postgres://rollcall@db/rollcall"],
  DATABASE_REPLICA_URLS: ["postgres://r1/x, postgres://r2/x", ["postgres://r1/x", "postgres://r2/x"]],
  DATABASE_POOL_MAX: ["25", 25],
  DATABASE_ACQUIRE_TIMEOUT_MS: ["1500", 1500],
  DATABASE_STATEMENT_TIMEOUT_MS: ["1000", 1000],
  NATS_URL: ["nats://n1:4222,tls://n2:4222", ["nats://n1:4222", "tls://n2:4222"]],
  REDIS_URL: ["rediss://:pass@redis:6379/1", "rediss://:pass@redis:6379/1"],
  REDIS_TIMEOUT_MS: ["30", 30],
  CACHE: ["none", "none"],
  CACHE_TTL_SECONDS: ["600", 600],
  CACHE_MAX_ENTRIES: ["1000", 1000],
  CACHE_MAX_MEMORY_MB: ["16", 16],
  REQUEST_TIMEOUT_MS: ["5000", 5000],
  IDEMPOTENCY_TTL_HOURS: ["48", 48],
  EVENT_LOG_RETENTION_DAYS: ["90", 90],
  DEAD_LETTER_RETENTION_DAYS: ["180", 180],
  EVENTS_STREAM_REPLICAS: ["3", 3],
  EVENTS_POLL_INTERVAL_MS: ["250", 250],
  STORAGE: ["s3", "s3"],
  STORAGE_TIMEOUT_MS: ["500", 500],
  S3_ENDPOINT: ["http://minio:9000", "http://minio:9000"],
  S3_PUBLIC_ENDPOINT: ["https://files.example.com", "https://files.example.com"],
  S3_REGION: ["eu-west-1", "eu-west-1"],
  S3_BUCKET: ["rollcall", "rollcall"],
  S3_ACCESS_KEY_ID: ["key", "key"],
  S3_SECRET_ACCESS_KEY: ["its secret", "its secret"],
  S3_PATH_STYLE: ["on", "on"],
  CDN_BASE_URL: ["https://cdn.example.com/images/", "https://cdn.example.com/images"],
  MEDIA_URL_TTL_SECONDS: ["60", 60],
  IMAGE_PRESETS: [
    "icon:16x24, wide:4096",
    [
      { name: "icon", width: 16, height: 24, fit: "cover" },
      { name: "wide", width: 4096, height: 4096, fit: "inside" },
    ],
  ],
  IMAGE_FORMATS: ["jpeg,avif", ["jpeg", "avif"]],
  IMAGE_UPLOADS_MAX: ["8", 8],
  IMAGE_WORKERS: ["3", 3],
  IMAGE_QUEUE_MAX: ["0", 0],
  IMAGE_TIMEOUT_MS: ["5000", 5000],
  START_DEADLINE_MS: ["5000", 5000],
  STOP_DEADLINE_MS: ["20000", 20_000],
  DRAIN_DELAY_MS: ["0", 0],
  CORS_ORIGINS: ["https://a.example, http://localhost:5173", ["https://a.example", "http://localhost:5173"]],
  TRUST_PROXY: ["10.0.0.0/8, ::1", { networks: ["10.0.0.0/8", "::1"] }],
  RATE_LIMIT: ["off", "off"],
  RATE_LIMIT_READS: ["100/60s", { limit: 100, windowSeconds: 60 }],
  RATE_LIMIT_WRITES: ["100/2m", { limit: 100, windowSeconds: 120 }],
  RATE_LIMIT_UPLOADS: ["30/1m", { limit: 30, windowSeconds: 60 }],
  RATE_LIMIT_SIGN_UP: ["5/24h", { limit: 5, windowSeconds: 86_400 }],
  RATE_LIMIT_LOGIN: ["5/1s", { limit: 5, windowSeconds: 1 }],
  RATE_LIMIT_WRONG_PASSWORDS: ["3/1h", { limit: 3, windowSeconds: 3600 }],
  RATE_LIMIT_WRONG_CREDENTIALS: ["999999999/1m", { limit: 999_999_999, windowSeconds: 60 }],
  LOG_LEVEL: ["warn", "warn"],
  LOG_FORMAT: ["json", "json"],
};
const SETTINGS = Object.keys(SAMPLES) as (keyof Config)[];

/** What some settings need beside them. */
const COMPANIONS: Partial<Record<keyof Config, Record<string, string>>> = {
  NATS_URL: { SECRET, AUTH_KEYS: KEY },
  ADMIN_EMAIL: { ADMIN_PASSWORD: "correct horse" },
  ADMIN_PASSWORD: { ADMIN_EMAIL: "root@example.com" },
  AUTH_ISSUER: { AUTH_JWKS_URL: "https://id.example/keys", AUTH_AUDIENCE: "rollcall" },
  AUTH_JWKS_URL: { AUTH_ISSUER: "https://id.example", AUTH_AUDIENCE: "rollcall" },
  AUTH_AUDIENCE: { AUTH_ISSUER: "https://id.example", AUTH_JWKS_URL: "https://id.example/keys" },
  DATABASE_REPLICA_URLS: { DATABASE_URL: "postgres://db/rollcall" },
  STORAGE: { S3_BUCKET: "rollcall" },
  S3_ACCESS_KEY_ID: { S3_SECRET_ACCESS_KEY: "its secret" },
  S3_SECRET_ACCESS_KEY: { S3_ACCESS_KEY_ID: "key" },
};

/** The reasons for which an environment is refused, one a line. */
function problemsOf(environment: Record<string, string>): string[] {
  return refusalOf(environment)
    .message.split("\n")
    .slice(1)
    .map((line) => line.trim());
}

function refusalOf(environment: Record<string, string>): StartupError {
  try {
    loadConfig(environment);
  } catch (error) {
    if (error instanceof StartupError) return error;
    throw error;
  }
  throw new Error("The configuration was accepted.");
}

function fileWith(content: string): string {
  const path = join(temporaryDir("config"), "value");
  writeFileSync(path, content);
  return path;
}

describe("the defaults", () => {
  test("make one node of all services on this machine, with nothing from outside", () => {
    expect(loadConfig({})).toEqual({
      PORT: 3000,
      HOST: "127.0.0.1",
      DATA_DIR: "./data",
      SERVICES: [...SERVICE_NAMES],
      NODE_ID: expect.stringMatching(/^[A-Za-z0-9_-]{1,64}$/),
      SECRET: undefined,
      SERVICE_PRINCIPAL: "rollcall",
      SIGNUP: "admin",
      AUTH_KEYS: undefined,
      AUTH_ISSUER: undefined,
      AUTH_JWKS_URL: undefined,
      AUTH_AUDIENCE: undefined,
      ADMIN_EMAIL: undefined,
      ADMIN_PASSWORD: undefined,
      DATABASE_URL: undefined,
      DATABASE_REPLICA_URLS: [],
      DATABASE_POOL_MAX: 10,
      DATABASE_ACQUIRE_TIMEOUT_MS: 2000,
      DATABASE_STATEMENT_TIMEOUT_MS: 3000,
      NATS_URL: undefined,
      REDIS_URL: undefined,
      REDIS_TIMEOUT_MS: 20,
      CACHE: "tiered",
      CACHE_TTL_SECONDS: 86_400,
      CACHE_MAX_ENTRIES: 50_000,
      CACHE_MAX_MEMORY_MB: 64,
      REQUEST_TIMEOUT_MS: 4000,
      IDEMPOTENCY_TTL_HOURS: 24,
      EVENT_LOG_RETENTION_DAYS: 30,
      DEAD_LETTER_RETENTION_DAYS: 90,
      EVENTS_STREAM_REPLICAS: 1,
      EVENTS_POLL_INTERVAL_MS: 1000,
      STORAGE: "disk",
      STORAGE_TIMEOUT_MS: 3000,
      S3_ENDPOINT: undefined,
      S3_PUBLIC_ENDPOINT: undefined,
      S3_REGION: "us-east-1",
      S3_BUCKET: undefined,
      S3_ACCESS_KEY_ID: undefined,
      S3_SECRET_ACCESS_KEY: undefined,
      S3_PATH_STYLE: "off",
      CDN_BASE_URL: undefined,
      MEDIA_URL_TTL_SECONDS: 3600,
      IMAGE_PRESETS: [
        { name: "thumb", width: 64, height: 64, fit: "cover" },
        { name: "small", width: 256, height: 256, fit: "inside" },
        { name: "medium", width: 640, height: 640, fit: "inside" },
        { name: "large", width: 1600, height: 1600, fit: "inside" },
      ],
      IMAGE_FORMATS: ["avif", "webp", "jpeg"],
      IMAGE_UPLOADS_MAX: 24,
      IMAGE_WORKERS: Math.max(1, availableParallelism() - 1),
      IMAGE_QUEUE_MAX: 32,
      IMAGE_TIMEOUT_MS: 20_000,
      START_DEADLINE_MS: 30_000,
      STOP_DEADLINE_MS: 15_000,
      DRAIN_DELAY_MS: 1000,
      CORS_ORIGINS: [],
      TRUST_PROXY: { count: 0 },
      RATE_LIMIT: "on",
      RATE_LIMIT_READS: { limit: 60_000, windowSeconds: 60 },
      RATE_LIMIT_WRITES: { limit: 12_000, windowSeconds: 60 },
      RATE_LIMIT_UPLOADS: { limit: 300, windowSeconds: 60 },
      RATE_LIMIT_SIGN_UP: { limit: 20, windowSeconds: 3600 },
      RATE_LIMIT_LOGIN: { limit: 60, windowSeconds: 60 },
      RATE_LIMIT_WRONG_PASSWORDS: { limit: 10, windowSeconds: 900 },
      RATE_LIMIT_WRONG_CREDENTIALS: { limit: 300, windowSeconds: 60 },
      LOG_LEVEL: "info",
      LOG_FORMAT: "auto",
    });
  });

  test("are documented as they would be written in the environment", () => {
    const documented = describeSettings().flatMap(({ name, defaultValue }) =>
      defaultValue === undefined ? [] : [[name, defaultValue]],
    );
    const { NODE_ID: _ofHost, ...written } = loadConfig(
      Object.fromEntries(documented) as Record<string, string>,
    );
    expect(loadConfig({})).toMatchObject(written);
    expect(Object.fromEntries(documented)).toMatchObject({
      PORT: "3000",
      SERVICES: "all",
      LOG_LEVEL: "info",
    });
  });

  test("are documented for every setting, with a sentence", () => {
    expect(describeSettings().map(({ name }) => name)).toEqual(SETTINGS);
    for (const { description } of describeSettings()) expect(description).toMatch(/^[A-Zjl].*\.$/);
  });
});

describe.each(SETTINGS)("%s", (name) => {
  const [written, read] = SAMPLES[name];

  test("is read from its variable", () => {
    expect(loadConfig({ ...COMPANIONS[name], [name]: written })[name]).toEqual(read);
  });

  test.each(["", "\n", "\r\n"])("is read from the file of its _FILE variable that ends in %j", (ending) => {
    const environment = { ...COMPANIONS[name], [`${name}_FILE`]: fileWith(written + ending) };
    expect(loadConfig(environment)[name]).toEqual(read);
  });

  test("is refused when its variable and its _FILE variable are both set", () => {
    const environment = { ...COMPANIONS[name], [name]: written, [`${name}_FILE`]: fileWith(written) };
    expect(problemsOf(environment)).toEqual([`${name}: set either ${name} or ${name}_FILE, not both`]);
  });

  test("is refused when its file cannot be read", () => {
    const environment = { ...COMPANIONS[name], [`${name}_FILE`]: "/nowhere/secret" };
    expect(problemsOf(environment)).toEqual([
      expect.stringMatching(new RegExp(`^${name}: ${name}_FILE cannot be read: ENOENT.*/nowhere/secret`)),
    ]);
  });

  test("counts as unset when its variable is empty", () => {
    expect(loadConfig({ [name]: "", [`${name}_FILE`]: "" })[name]).toEqual(loadConfig({})[name]);
  });
});

describe("a _FILE variable", () => {
  test("is used when its variable is set but empty", () => {
    expect(loadConfig({ SECRET: "", SECRET_FILE: fileWith(SECRET) }).SECRET).toBe(SECRET);
  });

  test("loses one newline at the end, not more and no other white space", () => {
    expect(loadConfig({ DATA_DIR_FILE: fileWith(" ./data \n\n") }).DATA_DIR).toBe(" ./data \n");
  });

  test("with an empty file is refused, since a secret that was not mounted must not pass for unset", () => {
    expect(problemsOf({ SECRET_FILE: fileWith("") })).toHaveLength(1);
    expect(problemsOf({ PORT_FILE: fileWith("\n") })).toEqual(["PORT: must be a whole number"]);
  });
});

describe("a wrong configuration", () => {
  test("is refused with exit code 78", () => {
    expect(EXIT_CONFIG).toBe(78);
    expect(refusalOf({ PORT: "http" }).exitCode).toBe(78);
  });

  test.each<[Record<string, string>, string]>([
    [{ PORT: "http" }, "PORT: must be a whole number"],
    [{ PORT: "0x10" }, "PORT: must be a whole number"],
    [{ PORT: "3e3" }, "PORT: must be a whole number"],
    [{ PORT: "30.5" }, "PORT: must be a whole number"],
    [{ PORT: "-1" }, "PORT: must be a whole number"],
    [{ PORT: " " }, "PORT: must be a whole number"],
    [{ PORT: "65536" }, "PORT: Too big: expected number to be <=65535"],
    [{ DATABASE_POOL_MAX: "0" }, "DATABASE_POOL_MAX: Too small: expected number to be >=1"],
    [{ NODE_ID: "a b" }, "NODE_ID: must be 1 to 64 letters, digits, - or _"],
    [{ NODE_ID: "n".repeat(65) }, "NODE_ID: must be 1 to 64 letters, digits, - or _"],
    [{ SECRET: "too short" }, "SECRET: must have 32 characters or more: `openssl rand -hex 32` makes one"],
    [{ DATABASE_URL: "db:5432" }, "DATABASE_URL: must be a URL starting with postgres:// or postgresql://"],
    [
      { DATABASE_URL: "mysql://db/x" },
      "DATABASE_URL: must be a URL starting with postgres:// or postgresql://",
    ],
    [{ REDIS_URL: "redis:6379" }, "REDIS_URL: must be a URL starting with redis:// or rediss://"],
    [{ NATS_URL: "nats:4222", SECRET }, "NATS_URL: must be a URL starting with nats:// or tls://"],
    [{ NATS_URL: " , ", SECRET }, "NATS_URL: must name a server"],
    [
      { CORS_ORIGINS: "https://a.example/" },
      "CORS_ORIGINS: must be an origin such as https://app.example.com, without a path",
    ],
    [
      { CORS_ORIGINS: "*" },
      "CORS_ORIGINS: must be an origin such as https://app.example.com, without a path",
    ],
    [
      { SERVICES: "users,pictures" },
      `SERVICES: Invalid option: expected one of ${SERVICE_NAMES.map((name) => `"${name}"`).join("|")}`,
    ],
    [{ EVENTS_STREAM_REPLICAS: "2" }, 'EVENTS_STREAM_REPLICAS: Invalid option: expected one of "1"|"3"|"5"'],
    [
      { ADMIN_EMAIL: "root@example", ADMIN_PASSWORD: "correct horse" },
      "ADMIN_EMAIL: must be an email address",
    ],
    [
      { ADMIN_EMAIL: '"root"@example.com', ADMIN_PASSWORD: "correct horse" },
      "ADMIN_EMAIL: must be an email address",
    ],
    [{ LOG_FORMAT: "xml" }, 'LOG_FORMAT: Invalid option: expected one of "auto"|"json"|"pretty"'],
  ])("is refused with the variable named: %j", (environment, problem) => {
    expect(problemsOf(environment)).toEqual([problem]);
  });

  test.each<[Record<string, string>, string]>([
    [
      { NATS_URL: "nats://n", AUTH_KEYS: KEY },
      "SECRET: is required with NATS_URL, and must be the same on every node: `openssl rand -hex 32` makes one",
    ],
    [{ DATABASE_REPLICA_URLS: "postgres://r" }, "DATABASE_REPLICA_URLS: needs DATABASE_URL"],
    [{ REQUEST_TIMEOUT_MS: "3000" }, "DATABASE_STATEMENT_TIMEOUT_MS: must be below REQUEST_TIMEOUT_MS"],
    [
      { DATABASE_STATEMENT_TIMEOUT_MS: "4000" },
      "DATABASE_STATEMENT_TIMEOUT_MS: must be below REQUEST_TIMEOUT_MS",
    ],
    [{ STOP_DEADLINE_MS: "1000" }, "DRAIN_DELAY_MS: must be below half of STOP_DEADLINE_MS"],
    [
      { NATS_URL: "nats://n", SECRET },
      "AUTH_KEYS: is required with NATS_URL on a node that runs auth: `openssl rand -hex 32` makes one",
    ],
    [{ STORAGE: "s3" }, "S3_BUCKET: is required with STORAGE=s3"],
    [
      { SERVICES: "users", DATABASE_POOL_MAX: "1" },
      "DATABASE_POOL_MAX: must be 2 or more on a node that runs users",
    ],
    [{ DATABASE_POOL_MAX: "2" }, "DATABASE_POOL_MAX: must be 3 or more on a node that runs users and images"],
    [{ S3_ACCESS_KEY_ID: "key" }, "S3_SECRET_ACCESS_KEY: is needed with S3_ACCESS_KEY_ID"],
    [{ ADMIN_EMAIL: "root@example.com" }, "ADMIN_PASSWORD: is needed with ADMIN_EMAIL"],
    [
      { AUTH_ISSUER: "https://id.example", AUTH_AUDIENCE: "rollcall" },
      "AUTH_JWKS_URL: is needed with AUTH_ISSUER and AUTH_AUDIENCE",
    ],
    [{ DRAIN_DELAY_MS: "7500" }, "DRAIN_DELAY_MS: must be below half of STOP_DEADLINE_MS"],
  ])("is refused when settings contradict each other: %j", (environment, problem) => {
    expect(problemsOf(environment)).toEqual([problem]);
  });

  test("is accepted when settings are just within each other's bounds", () => {
    const environment = { DRAIN_DELAY_MS: "7499", DATABASE_STATEMENT_TIMEOUT_MS: "3999" };
    expect(loadConfig(environment)).toMatchObject({
      DRAIN_DELAY_MS: 7499,
      DATABASE_STATEMENT_TIMEOUT_MS: 3999,
    });
  });

  test("is refused with all that is wrong at once, contradictions among it", () => {
    const environment = {
      PORT: "http",
      LOG_LEVEL: "loud",
      HOST_FILE: "/nowhere/host",
      DATABASE_REPLICA_URLS: "postgres://r,http://r",
      NATS_URL: "nats://n",
      DRAIN_DELAY_MS: "60000",
    };
    const named = problemsOf(environment).map((line) => line.split(":")[0]);
    expect(named).toHaveLength(7);
    expect(new Set(named)).toEqual(
      new Set([
        "AUTH_KEYS",
        "DATABASE_REPLICA_URLS",
        "DRAIN_DELAY_MS",
        "HOST",
        "LOG_LEVEL",
        "PORT",
        "SECRET",
      ]),
    );
  });

  test("is not called contradictory because of a variable that is wrong by itself", () => {
    expect(problemsOf({ NATS_URL: "nats://n", SECRET: "short", AUTH_KEYS: KEY })).toHaveLength(1);
    expect(problemsOf({ DATABASE_URL: "db", DATABASE_REPLICA_URLS: "postgres://r" })).toHaveLength(1);
    expect(problemsOf({ REQUEST_TIMEOUT_MS: "soon" })).toEqual([
      "REQUEST_TIMEOUT_MS: must be a whole number",
    ]);
  });

  test("does not show the values, which may be secrets", () => {
    const environment = {
      SECRET: "hunter2",
      DATABASE_URL: "http://u:hunter2@db",
      REDIS_URL: "hunter2",
      NATS_URL: "hunter2",
    };
    expect(refusalOf(environment).message).not.toContain("hunter2");
  });
});

test("a program may have other defaults, which the environment goes before", () => {
  const defaults = { SERVICES: "none", PORT: "0" };
  expect(loadConfig({ PORT: "80", SERVICES: "" }, defaults)).toMatchObject({ SERVICES: [], PORT: 80 });
});

describe("SERVICES", () => {
  test.each([
    ["all", [...SERVICE_NAMES]],
    ["none", []],
    ["api", ["api"]],
    [" users , api ", ["users", "api"]],
    ["users,users", ["users"]],
  ])("%j is %j", (written, services) => {
    expect(loadConfig({ SERVICES: written }).SERVICES).toEqual(services);
  });
});

describe("the configuration", () => {
  test("cannot be changed, and neither can its lists", () => {
    const config = loadConfig({});
    expect(() => Object.assign(config, { PORT: 1 })).toThrow(TypeError);
    expect(() => config.SERVICES.push("api")).toThrow(TypeError);
    expect(() => config.CORS_ORIGINS.push("https://evil.example")).toThrow(TypeError);
  });

  test("ignores variables that are not its own", () => {
    expect(loadConfig({ NODE_ID: "a", NAMESPACE: "other", VALIDATOR: "false" })).toEqual(
      loadConfig({ NODE_ID: "a" }),
    );
  });
});

describe("the environment", () => {
  /** Everything that a node runs. */
  const sources = globSync(["{lib,broker,mixins,services,bootstrap}/**/*.ts", "moleculer.config.ts"], {
    cwd: ROOT,
  });

  test("is read by lib/config.ts alone", () => {
    expect(sources.length).toBeGreaterThan(40);
    const readers = sources.filter((path) =>
      /process\s*\.\s*env|process\[|\benv\b.*from "node:process"/.test(
        readFileSync(join(ROOT, path), "utf8"),
      ),
    );
    expect(readers).toEqual(["lib/config.ts"]);
  });

  test("is not read while modules are loaded", async () => {
    // Programs do something as soon as they are loaded; all else must not.
    const modules = sources.filter(
      (path) => !/^bootstrap\/(?:start|[a-z]+-command)\.ts$|\/worker\.ts$/.test(path),
    );
    const script = `
      const names = new Set(${JSON.stringify(SETTINGS.flatMap((name) => [name, `${name}_FILE`]))});
      const read = [];
      const note = (name) => {
        // What packages do is not ours.
        if (!new Error().stack.includes("node_modules")) read.push(name);
      };
      process.env = new Proxy(process.env, {
        get: (env, name) => (names.has(name) && note(name), env[name]),
        has: (env, name) => (names.has(name) && note(name), name in env),
        ownKeys: (env) => (note("all of it"), Reflect.ownKeys(env)),
      });
      for (const path of ${JSON.stringify(modules)}) await import(\`${ROOT}/\${path}\`);
      const { loadConfig } = await import("${ROOT}/lib/config.ts");
      const whileLoading = [...read];
      loadConfig();
      console.log(JSON.stringify({ whileLoading, afterwards: read.length }));
    `;
    const { stdout } = await promisify(execFile)(process.execPath, ["--input-type=module", "--eval", script]);
    const { whileLoading, afterwards } = JSON.parse(stdout) as { whileLoading: string[]; afterwards: number };
    expect(whileLoading).toEqual([]);
    expect(afterwards).toBe(SETTINGS.length * 2);
  });
});
