import type { Settings } from "./config.ts";
import { SECRET_ADVICE } from "./setting-types.ts";

/** What is wrong with one variable. */
export interface ConfigProblem {
  name: string;
  message: string;
}

/** All of them are set, or none. */
const SET_TOGETHER = [
  ["AUTH_ISSUER", "AUTH_JWKS_URL", "AUTH_AUDIENCE"],
  ["ADMIN_EMAIL", "ADMIN_PASSWORD"],
  ["S3_ACCESS_KEY_ID", "S3_SECRET_ACCESS_KEY"],
] as const satisfies (keyof Settings)[][];

function others(names: readonly string[], name: string): string {
  return names.filter((each) => each !== name).join(" and ");
}

/**
 * What one event of an image takes at the same time: a connection for the event, one for the change of the user and, if
 * the images are on the same node, one to look at them. With fewer none would ever be done.
 */
function poolProblems({
  SERVICES: services = [],
  DATABASE_POOL_MAX: max = Infinity,
}: Partial<Settings>): ConfigProblem[] {
  if (!services.includes("users")) return [];
  const [needed, what] = services.includes("images") ? [3, "users and images"] : [2, "users"];
  if (max >= needed) return [];
  return [{ name: "DATABASE_POOL_MAX", message: `must be ${needed} or more on a node that runs ${what}` }];
}

/**
 * What settings that are valid by themselves say against each other.
 *
 * @param config what is valid by itself
 * @param wrong the variables that are not, about which no more need be said
 */
export function contradictionsIn(config: Partial<Settings>, wrong: ReadonlySet<string>): ConfigProblem[] {
  const problems: ConfigProblem[] = [];
  const { DATABASE_STATEMENT_TIMEOUT_MS: statementMs = 0, REQUEST_TIMEOUT_MS: requestMs = Infinity } = config;
  const { DRAIN_DELAY_MS: drainMs = 0, STOP_DEADLINE_MS: stopMs = Infinity } = config;
  const isMissing = (name: keyof Settings) => config[name] === undefined && !wrong.has(name);

  if (statementMs >= requestMs) {
    // Otherwise a statement could still be running, and commit, while its request is already being retried.
    problems.push({ name: "DATABASE_STATEMENT_TIMEOUT_MS", message: "must be below REQUEST_TIMEOUT_MS" });
  }
  // Waited for twice: the gateway drains before the other services do.
  if (2 * drainMs >= stopMs) {
    problems.push({ name: "DRAIN_DELAY_MS", message: "must be below half of STOP_DEADLINE_MS" });
  }
  problems.push(...poolProblems(config));
  if (config.NATS_URL && isMissing("SECRET")) {
    problems.push({
      name: "SECRET",
      message: `is required with NATS_URL, and must be the same on every node: ${SECRET_ADVICE}`,
    });
  }
  if (config.NATS_URL && config.SERVICES?.includes("auth") && isMissing("AUTH_KEYS")) {
    problems.push({
      name: "AUTH_KEYS",
      message: `is required with NATS_URL on a node that runs auth: ${SECRET_ADVICE}`,
    });
  }
  for (const names of SET_TOGETHER) {
    const missing = names.filter(isMissing);
    if (missing.length === names.length) continue;
    problems.push(...missing.map((name) => ({ name, message: `is needed with ${others(names, name)}` })));
  }
  if (config.STORAGE === "s3" && isMissing("S3_BUCKET")) {
    problems.push({ name: "S3_BUCKET", message: "is required with STORAGE=s3" });
  }
  if (config.DATABASE_REPLICA_URLS?.length && isMissing("DATABASE_URL")) {
    problems.push({ name: "DATABASE_REPLICA_URLS", message: "needs DATABASE_URL" });
  }
  return problems;
}
