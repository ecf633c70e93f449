import { readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { basename, join } from "node:path";

import { expect, test } from "@jest/globals";

import { compose } from "../../support/compose-file.ts";
import { makeSecrets } from "../../support/generated-secrets.ts";
import { kustomization } from "../../support/kubernetes.ts";

const ROOT = join(import.meta.dirname, "../../..");

function contentsOf(folder: string): Record<string, string> {
  return Object.fromEntries(
    readdirSync(folder).map((name) => [name, readFileSync(join(folder, name), "utf8")]),
  );
}

test("every secret that compose and Kubernetes read is made, in a folder that is never committed", () => {
  const made = readdirSync(makeSecrets());
  const ofCompose = Object.values(compose.secrets).map(({ file }) => file);
  const ofKubernetes = kustomization.secretGenerator.flatMap(({ files }) => files);
  expect([...ofCompose, ...ofKubernetes].filter((file) => !made.includes(basename(file)))).toEqual([]);
  expect(ofCompose.filter((file) => !file.startsWith("./secrets/"))).toEqual([]);
  expect(ofKubernetes.filter((file) => !file.startsWith("secrets/"))).toEqual([]);

  const ignored = readFileSync(join(ROOT, ".gitignore"), "utf8").split("\n");
  expect(ignored).toEqual(expect.arrayContaining(["/secrets/", "/k8s/secrets/"]));
});

test("secrets are out of reach of others on the machine, and can be read in containers by whoever runs there", () => {
  const folder = makeSecrets();
  expect(statSync(folder).mode & 0o777).toBe(0o700);
  const modes = readdirSync(folder).map((name) => statSync(join(folder, name)).mode & 0o777);
  expect(new Set(modes)).toEqual(new Set([0o444]));
});

test("secrets are kept when they are made again, and one that is missing is made to fit the others", () => {
  const folder = makeSecrets();
  const first = contentsOf(folder);
  rmSync(join(folder, "redis-url"), { force: true });
  makeSecrets(folder);
  expect(contentsOf(folder)).toEqual(first);
});

test("no two checkouts have a secret in common", () => {
  const [first, second] = [contentsOf(makeSecrets()), contentsOf(makeSecrets())];
  expect(Object.keys(first).filter((name) => first[name] === second[name])).toEqual([]);
  expect(first["secret"]?.length).toBeGreaterThanOrEqual(32);
});
