import { readFileSync } from "node:fs";
import { join } from "node:path";

import { describe, expect, test } from "@jest/globals";
import { parse } from "yaml";

import { loadConfig } from "../../../lib/config.ts";
import {
  compose,
  nodeServices,
  ownServices,
  problemsOf,
  type ComposeService,
} from "../../support/compose-file.ts";
import { imageEnvironment, imageInstructions } from "../../support/container-image.ts";

const ROOT = join(import.meta.dirname, "../../..");
const SERVERS = Object.entries(compose.services).filter(([name]) => name !== "migrate");

/** The file without the fields that came into the specification after the version that the schema is of. */
function olderFile(): Record<string, object> {
  const { name: _, ...rest } = compose as unknown as Record<string, object>;
  return rest;
}

test("docker-compose.yml is what the compose specification asks for", () => {
  expect(problemsOf(olderFile())).toEqual([]);
});

test("a field that the compose specification does not know would be found", () => {
  const gateway = { ...compose.services["gateway"], healthchekc: {} };
  const file = { ...olderFile(), services: { ...compose.services, gateway } };
  expect(problemsOf(file)).toContain("/services/gateway must NOT have additional properties healthchekc");
});

describe.each(SERVERS)("%s", (name, service) => {
  test("has a health check", () => {
    const isOfImage = name in ownServices && imageInstructions("HEALTHCHECK").length === 1;
    expect(service.healthcheck?.test !== undefined || isOfImage).toBe(true);
  });

  test("starts again when it ends, until it is stopped", () => {
    expect(service.restart).toBe("unless-stopped");
  });
});

describe.each(Object.entries(compose.services))("%s", (_, service) => {
  test("cannot write but to its volumes, and has no rights of root", () => {
    expect(service).toMatchObject({
      read_only: true,
      cap_drop: ["ALL"],
      security_opt: ["no-new-privileges:true"],
    });
  });

  test("is published on this machine only", () => {
    expect((service.ports ?? []).filter((port) => !port.startsWith("127.0.0.1:"))).toEqual([]);
  });

  test("waits for services that are there, until they are healthy or done", () => {
    const waits = Object.entries(service.depends_on ?? {});
    const conditionOf = (name: string): string =>
      compose.services[name]?.restart === "no" ? "service_completed_successfully" : "service_healthy";
    expect(waits.map(([name, { condition }]) => [name, condition])).toEqual(
      waits.map(([name]) => [name, name in compose.services ? conditionOf(name) : "no such service"]),
    );
  });

  test("has volumes and files that are there", () => {
    const sources = (service.volumes ?? []).map((volume) => volume.split(":")[0] ?? "");
    const isThere = (source: string): boolean =>
      source.startsWith("./") ? readFileSync(join(ROOT, source)).length > 0 : source in compose.volumes;
    expect(sources.filter((source) => !isThere(source))).toEqual([]);
  });
});

test("every volume is used, and so is every secret, and there are no others", () => {
  const services = Object.values(compose.services);
  const volumes = services.flatMap((service) => service.volumes ?? []).map((volume) => volume.split(":")[0]);
  expect(volumes).toEqual(expect.arrayContaining(Object.keys(compose.volumes)));
  const secrets = new Set(services.flatMap(secretsOf));
  expect([...secrets].toSorted()).toEqual(Object.keys(compose.secrets).toSorted());
});

function secretsOf({ secrets = [] }: ComposeService): string[] {
  return secrets.map((secret) => (typeof secret === "string" ? secret : secret.source));
}

test("every node waits, itself or through another one, for the migration and the servers", () => {
  const waitsFor = (name: string): string[] => {
    const names = Object.keys(compose.services[name]?.depends_on ?? {});
    return [...names, ...names.flatMap(waitsFor)];
  };
  for (const name of Object.keys(nodeServices)) {
    expect(waitsFor(name)).toEqual(expect.arrayContaining(["migrate", "postgres", "nats", "redis"]));
  }
});

test("our image has the version of the project", () => {
  const { version } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as { version: string };
  const images = new Set(Object.values(ownServices).map(({ image }) => image));
  expect([...images]).toEqual([`rollcall:${version}`]);
});

test("Prometheus scrapes every node on its METRICS_PORT", () => {
  const { scrape_configs: jobs } = parse(readFileSync(join(ROOT, "prometheus/prometheus.yml"), "utf8")) as {
    scrape_configs: { dns_sd_configs: { names: string[]; type: string; port: number }[] }[];
  };
  const { METRICS_PORT } = loadConfig(imageEnvironment());
  const scraped = jobs.flatMap(({ dns_sd_configs: targets }) => targets);
  expect(scraped.flatMap(({ names }) => names).toSorted()).toEqual(Object.keys(nodeServices).toSorted());
  expect(scraped.map(({ type, port }) => [type, port])).toEqual(scraped.map(() => ["A", METRICS_PORT]));
});
