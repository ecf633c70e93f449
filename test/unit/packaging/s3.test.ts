import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { describe, expect, test } from "@jest/globals";
import type { Deployment } from "kubernetes-types/apps/v1.d.ts";
import { parse } from "yaml";

import { loadConfig, type Config } from "../../../lib/config.ts";
import { compose, problemsOf, type ComposeFile } from "../../support/compose-file.ts";
import { imageEnvironment, parseEnvFile } from "../../support/container-image.ts";
import { makeSecrets } from "../../support/generated-secrets.ts";
import { environmentOf, nodeWorkloads, ofKind } from "../../support/kubernetes.ts";
import { temporaryDir } from "../../support/test-run.ts";

/** The nodes that read and write images. */
const NODES = ["gateway", "images"];
const ROOT = join(import.meta.dirname, "../../..");
const IN_BUCKET = {
  STORAGE: "s3",
  S3_BUCKET: expect.any(String),
  S3_ACCESS_KEY_ID: "key",
  S3_SECRET_ACCESS_KEY: "key",
};

const secretsFolder = makeSecrets();
const keyFile = join(temporaryDir("s3"), "key");
writeFileSync(keyFile, "key");

/** What a node reads, with the files of secrets as they are here. */
function configOf(environment: Readonly<Record<string, string>>): Config {
  const here = Object.entries({ ...imageEnvironment(), ...environment }).map(([name, value]) => {
    if (!name.endsWith("_FILE")) return [name, value];
    return [name, name.startsWith("S3_") ? keyFile : join(secretsFolder, value.split("/").at(-1) ?? "")];
  });
  return loadConfig(Object.fromEntries(here) as Record<string, string>);
}

describe("docker-compose.s3.yml", () => {
  const override = parse(readFileSync(join(ROOT, "docker-compose.s3.yml"), "utf8")) as ComposeFile;

  test("is what the compose specification asks for, for the services that have to do with images", () => {
    expect(problemsOf(override)).toEqual([]);
    expect(Object.keys(override.services)).toEqual(NODES);
  });

  test.each(NODES)("gives %s the bucket, and the files of its key", (name) => {
    const { environment = {}, secrets = [] } = override.services[name] ?? {};
    const set = Object.entries({ ...compose.services[name]?.environment, ...environment }).map(
      // `${NAME:-default}` is its default; `${NAME:?why}` has none.
      ([variable, value]) => [variable, value.replaceAll(/\$\{\w+:[-?](.*?)\}/g, "$1")],
    );
    expect(configOf(Object.fromEntries(set) as Record<string, string>)).toMatchObject(IN_BUCKET);
    const files = Object.values(environment).filter((value) => value.startsWith("/run/secrets/"));
    const names = Object.keys(override.secrets);
    expect(secrets).toEqual(names);
    expect(files).toEqual(names.map((secret) => `/run/secrets/${secret}`));
  });
});

/** An item of a list in a patch: it replaces the one of the same name or path, or removes it. */
type Patched<T> = T & { $patch?: "delete" };

/** As Kubernetes merges lists whose items have a key. */
function merged<T extends object>(
  base: readonly T[] = [],
  patch: readonly Patched<T>[] = [],
  key: keyof T,
): T[] {
  const keys = new Set(patch.map((item) => item[key]));
  return [
    ...base.filter((item) => !keys.has(item[key])),
    ...patch.filter(({ $patch }) => $patch !== "delete"),
  ];
}

describe("k8s/s3", () => {
  const read = (file: string): string => readFileSync(join(ROOT, "k8s/s3", file), "utf8");
  const component = parse(read("kustomization.yaml")) as {
    kind: string;
    configMapGenerator: { name: string; envs: string[] }[];
    secretGenerator: { name: string; files: string[] }[];
    patches: { path: string; target?: { kind: string; name: string } }[];
  };
  const patch = parse(read("nodes.yaml"), { version: "1.1" }) as Deployment;
  const pod = patch.spec?.template.spec;
  const [container] = pod?.containers ?? [];
  const settings = Object.assign(
    {},
    ...component.configMapGenerator.flatMap(({ envs }) => envs.map((file) => parseEnvFile(read(file)))),
  ) as Record<string, string>;

  test("is a component whose patches are of objects that there are, and whose secrets are never committed", () => {
    expect(component.kind).toBe("Component");
    expect(component.patches).toEqual([
      { path: "nodes.yaml", target: { kind: "Deployment", name: NODES.join("|") } },
      { path: "no-volume.yaml" },
    ]);
    const { kind, metadata } = parse(read("no-volume.yaml")) as { kind: string; metadata: { name: string } };
    expect(kind).toBe("PersistentVolumeClaim");
    expect(ofKind(kind as "PersistentVolumeClaim").map((claim) => claim.metadata?.name)).toContain(
      metadata.name,
    );
    const ignored = readFileSync(join(ROOT, ".gitignore"), "utf8").split("\n");
    expect(ignored).toContain("/k8s/s3/secrets/");
  });

  describe.each(nodeWorkloads.filter(({ name }) => NODES.includes(name)))(
    "the nodes of $name",
    (workload) => {
      const own = workload.container;
      const mounts = merged(own.volumeMounts, container?.volumeMounts, "mountPath");
      const volumes = merged(workload.pod.volumes, pod?.volumes, "name");

      test("get the bucket, and keep their other settings", () => {
        expect(container?.envFrom).toEqual([
          ...(own.envFrom ?? []),
          ...component.configMapGenerator.map(({ name }) => ({ configMapRef: { name } })),
        ]);
        const env = merged(own.env, container?.env, "name");
        const environment = environmentOf({ ...workload, container: { ...own, env } });
        expect(configOf({ ...settings, ...environment })).toMatchObject(IN_BUCKET);
      });

      test("mount the key of the bucket where they look for it, and no volume any more", () => {
        expect(mounts.map(({ name }) => name).toSorted()).toEqual(volumes.map(({ name }) => name).toSorted());
        expect(volumes.filter(({ persistentVolumeClaim }) => persistentVolumeClaim)).toEqual([]);
        const [{ name, files }] = component.secretGenerator as [{ name: string; files: string[] }];
        const volume = volumes.find(({ secret }) => secret?.secretName === name);
        const path = mounts.find((mount) => mount.name === volume?.name)?.mountPath ?? "";
        expect((container?.env ?? []).flatMap(({ value }) => value ?? [])).toEqual(
          files.map((file) => file.replace("secrets", path)),
        );
      });
    },
  );
});
