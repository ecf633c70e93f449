import { join } from "node:path";

import { describe, expect, test } from "@jest/globals";

import {
  describeSettings,
  loadConfig,
  SERVICE_NAMES,
  type Config,
  type ServiceName,
} from "../../../lib/config.ts";
import { compose, composeText, nodeServices, ownServices } from "../../support/compose-file.ts";
import { imageEnvironment, imageInstructions } from "../../support/container-image.ts";
import { makeSecrets } from "../../support/generated-secrets.ts";
import {
  environmentOf,
  nodeWorkloads,
  ofKind,
  ownWorkloads,
  type Workload,
} from "../../support/kubernetes.ts";

/** A container of ours, as compose or Kubernetes starts it. */
interface Deployed {
  readonly where: string;
  readonly environment: Readonly<Record<string, string>>;
  /** Generated secrets by their path in the container. */
  readonly secrets: Readonly<Record<string, string>>;
}

/** Variables of the image that are Node's and npm's. */
const NOT_SETTINGS = ["NODE_ENV", "NPM_CONFIG_LOGS_MAX", "NPM_CONFIG_UPDATE_NOTIFIER"];

/** Settings that neither compose nor Kubernetes sets: their defaults are right there. */
const LEFT_AT_DEFAULT = [
  "PORT",
  "DATA_DIR",
  "SERVICE_PRINCIPAL",
  "AUTH_ISSUER",
  "AUTH_JWKS_URL",
  "AUTH_AUDIENCE",
  "DATABASE_REPLICA_URLS",
  "DATABASE_POOL_MAX",
  "DATABASE_ACQUIRE_TIMEOUT_MS",
  "DATABASE_STATEMENT_TIMEOUT_MS",
  "REDIS_TIMEOUT_MS",
  "CACHE",
  "CACHE_TTL_SECONDS",
  "CACHE_MAX_ENTRIES",
  "CACHE_MAX_MEMORY_MB",
  "REQUEST_TIMEOUT_MS",
  "IDEMPOTENCY_TTL_HOURS",
  "EVENT_LOG_RETENTION_DAYS",
  "DEAD_LETTER_RETENTION_DAYS",
  "EVENTS_STREAM_REPLICAS",
  "EVENTS_POLL_INTERVAL_MS",
  "STORAGE",
  "STORAGE_TIMEOUT_MS",
  "S3_ENDPOINT",
  "S3_PUBLIC_ENDPOINT",
  "S3_REGION",
  "S3_BUCKET",
  "S3_ACCESS_KEY_ID",
  "S3_SECRET_ACCESS_KEY",
  "S3_PATH_STYLE",
  "CDN_BASE_URL",
  "MEDIA_URL_TTL_SECONDS",
  "IMAGE_PRESETS",
  "IMAGE_FORMATS",
  "IMAGE_UPLOADS_MAX",
  "IMAGE_WORKERS",
  "IMAGE_QUEUE_MAX",
  "IMAGE_TIMEOUT_MS",
  "START_DEADLINE_MS",
  "CORS_ORIGINS",
  "RATE_LIMIT",
  "RATE_LIMIT_READS",
  "RATE_LIMIT_WRITES",
  "RATE_LIMIT_UPLOADS",
  "RATE_LIMIT_SIGN_UP",
  "RATE_LIMIT_LOGIN",
  "RATE_LIMIT_WRONG_PASSWORDS",
  "RATE_LIMIT_WRONG_CREDENTIALS",
];

const USES_DATABASE: ReadonlySet<ServiceName> = new Set(["users", "auth", "events", "images"]);

const SETTINGS = describeSettings().map(({ name }) => name);
const secretsFolder = makeSecrets();

const inCompose = Object.keys(ownServices).map(deployedByCompose);
const inKubernetes = ownWorkloads.map(deployedByKubernetes);
const deployed = [...inCompose, ...inKubernetes];

function deployedByCompose(name: string): Deployed {
  const { environment = {}, secrets = [] } = ownServices[name] ?? {};
  const named = secrets.filter((secret) => typeof secret === "string");
  return {
    where: `${name} of compose`,
    environment: Object.fromEntries(
      // `${NAME:-default}` is its default.
      Object.entries(environment).map(([key, value]) => [key, value.replaceAll(/\$\{\w+:-(.*?)\}/g, "$1")]),
    ),
    secrets: Object.fromEntries(
      named.map((secret) => [
        `/run/secrets/${secret}`,
        compose.secrets[secret]?.file.split("/").at(-1) ?? "",
      ]),
    ),
  };
}

function deployedByKubernetes(workload: Workload): Deployed {
  const mounts = (workload.container.volumeMounts ?? []).flatMap(({ name, mountPath }) => {
    const volume = workload.pod.volumes?.find((each) => each.name === name);
    return (volume?.secret?.items ?? []).map(({ key, path }) => [`${mountPath}/${path}`, key]);
  });
  return {
    where: `${workload.name} of Kubernetes`,
    environment: environmentOf(workload),
    secrets: Object.fromEntries(mounts) as Record<string, string>,
  };
}

/** What the node reads, with the paths of its secrets as they are here. */
function environmentHere({ environment, secrets }: Deployed): Record<string, string> {
  const all = Object.entries({ ...imageEnvironment(), ...environment });
  return Object.fromEntries(
    all.map(([name, value]) => {
      const secret = secrets[value];
      return [name, secret === undefined ? value : join(secretsFolder, secret)];
    }),
  );
}

function settingOf(variable: string): string {
  return SETTINGS.includes(variable) ? variable : variable.replace(/_FILE$/, "");
}

function configOf(where: string): Config {
  const found = deployed.find((each) => each.where === where);
  if (!found) throw new Error(`There is no ${where}.`);
  return loadConfig(environmentHere(found));
}

describe.each(deployed)("$where", (each) => {
  test("has a configuration that a node accepts, with every secret that it names", () => {
    expect(() => loadConfig(environmentHere(each))).not.toThrow();
  });

  test("sets only variables that are settings", () => {
    expect(Object.keys(each.environment).filter((name) => !SETTINGS.includes(settingOf(name)))).toEqual([]);
  });

  test("is given no secret that it does not read", () => {
    const values = Object.values(each.environment);
    expect(Object.keys(each.secrets).filter((path) => !values.includes(path))).toEqual([]);
  });
});

describe.each(["compose", "Kubernetes"])("in %s", (system) => {
  const services = system === "compose" ? Object.keys(nodeServices) : nodeWorkloads.map(({ name }) => name);
  const configs = services.map((name) => configOf(`${name} of ${system}`));

  test("every service runs, each on nodes of its own", () => {
    expect(configs.map(({ SERVICES }) => SERVICES.join(",")).toSorted()).toEqual(
      [...SERVICE_NAMES].toSorted(),
    );
  });

  test("every node can be reached and has the servers of distributed mode", () => {
    for (const config of configs) {
      expect(config).toMatchObject({ HOST: "0.0.0.0", METRICS_PORT: 9464 });
      expect([config.NATS_URL, config.REDIS_URL]).not.toContain(undefined);
      expect(config.DATABASE_URL !== undefined).toBe(config.SERVICES.some((name) => USES_DATABASE.has(name)));
    }
  });

  test("the URLs name servers that are there", () => {
    const hosts =
      system === "compose"
        ? Object.keys(compose.services)
        : ofKind("Service").map(({ metadata }) => metadata?.name ?? "");
    for (const { DATABASE_URL, NATS_URL = [], REDIS_URL } of configs) {
      const urls = [DATABASE_URL, ...NATS_URL, REDIS_URL].filter((url) => url !== undefined);
      expect(urls.map((url) => new URL(url).hostname).filter((host) => !hosts.includes(host))).toEqual([]);
    }
  });

  test("each setting is set, or left at its default on purpose", () => {
    const where = system === "compose" ? inCompose : inKubernetes;
    const variables = [imageEnvironment(), ...where.map(({ environment }) => environment)].flatMap(
      Object.keys,
    );
    const set = new Set(variables.map(settingOf));
    const isSet = (name: string): boolean => set.has(name) && !LEFT_AT_DEFAULT.includes(name);
    // In compose the host name and process id of a container, a short stop, JSON without a terminal and no proxy are right.
    const asByDefault =
      system === "compose"
        ? ["NODE_ID", "LOG_FORMAT", "STOP_DEADLINE_MS", "DRAIN_DELAY_MS", "TRUST_PROXY"]
        : [];
    expect(SETTINGS.filter((name) => !isSet(name))).toEqual(
      SETTINGS.filter((name) => LEFT_AT_DEFAULT.includes(name) || asByDefault.includes(name)),
    );
  });
});

test("every setting that is left at its default exists", () => {
  expect(LEFT_AT_DEFAULT.filter((name) => !SETTINGS.includes(name))).toEqual([]);
});

test("the image sets settings, and nothing else but what Node and npm read", () => {
  const others = Object.keys(imageEnvironment()).filter((name) => !SETTINGS.includes(name));
  expect(others).toEqual(NOT_SETTINGS);
});

test("the image exposes the ports that its nodes listen on", () => {
  const { PORT, METRICS_PORT } = configOf("gateway of compose");
  expect(imageInstructions("EXPOSE")).toEqual([`${PORT} ${METRICS_PORT}`]);
});

test("what compose takes from its caller's environment is a setting, or the port of Prometheus", () => {
  const taken = [...composeText.matchAll(/(?<!\$)\$\{?(\w+)/g)].map(([, name = ""]) => name);
  expect(taken.length).toBeGreaterThan(0);
  expect(taken.filter((name) => !SETTINGS.includes(name) && name !== "PROMETHEUS_PORT")).toEqual([]);
});

describe("a node has time to stop by itself", () => {
  test.each(Object.entries(nodeServices))("in compose: %s", (name, { stop_grace_period: grace = "" }) => {
    const [, seconds] = /^(\d+)s$/.exec(grace) ?? [];
    expect(Number(seconds) * 1000).toBeGreaterThanOrEqual(
      configOf(`${name} of compose`).STOP_DEADLINE_MS + 2000,
    );
  });

  test.each(nodeWorkloads.map(({ name, pod }) => [name, pod] as const))("in Kubernetes: %s", (name, pod) => {
    const { STOP_DEADLINE_MS, DRAIN_DELAY_MS } = configOf(`${name} of Kubernetes`);
    expect((pod.terminationGracePeriodSeconds ?? 0) * 1000).toBeGreaterThanOrEqual(STOP_DEADLINE_MS + 2000);
    // A pod that is ending gets new requests until every proxy has heard of it.
    expect(DRAIN_DELAY_MS).toBeGreaterThanOrEqual(5000);
  });
});

test("a node that has not started in time ends by itself, before Kubernetes kills it without a reason", () => {
  for (const { name, container } of nodeWorkloads) {
    const { periodSeconds = 10, failureThreshold = 3 } = container.startupProbe ?? {};
    const { START_DEADLINE_MS } = configOf(`${name} of Kubernetes`);
    expect(periodSeconds * failureThreshold * 1000).toBeGreaterThan(START_DEADLINE_MS);
  }
});

test("PostgreSQL takes the connections of as many nodes as there may be", () => {
  const postgres = { compose: compose.services["postgres"]?.command, kubernetes: postgresArguments() };
  expect(postgres.compose).toEqual(postgres.kubernetes);
  const [, maximum] = /max_connections=(\d+)/.exec(postgres.kubernetes?.join(" ") ?? "") ?? [];
  const connections = nodeWorkloads.map(({ name }) => {
    const config = configOf(`${name} of Kubernetes`);
    if (config.DATABASE_URL === undefined) return 0;
    const scaler = ofKind("HorizontalPodAutoscaler").find(({ metadata }) => metadata?.name === name);
    // One more while a new one takes the place of an old one; each opens a few beside its pool.
    const nodes = (scaler?.spec?.maxReplicas ?? Infinity) + 1;
    return nodes * (config.DATABASE_POOL_MAX + 3);
  });
  expect(Number(maximum)).toBeGreaterThan(connections.reduce((sum, each) => sum + each));
});

function postgresArguments(): readonly string[] | undefined {
  const stateful = ofKind("StatefulSet").find(({ metadata }) => metadata?.name === "postgres");
  return stateful?.spec?.template.spec?.containers[0]?.args;
}
