import { execFile } from "node:child_process";
import { writeFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";

import { describe, expect, test } from "@jest/globals";
import { parse } from "yaml";

import { loadConfig } from "../../../lib/config.ts";
import { healthHandlers } from "../../../services/api/health-handlers.ts";
import { createLogger } from "../../../lib/logger.ts";
import { compose } from "../../support/compose-file.ts";
import { imageEnvironment } from "../../support/container-image.ts";
import {
  configMaps,
  kustomization,
  manifestFiles,
  manifests,
  nodeWorkloads,
  ofKind,
  ownWorkloads,
  probesOf,
  selects,
  volumeSourcesOf,
  workloads,
  type Manifest,
} from "../../support/kubernetes.ts";
import { temporaryDir } from "../../support/test-run.ts";

const ROOT = join(import.meta.dirname, "../../..");

describe("the kustomization", () => {
  test("has every manifest and no other field than those that are checked here", () => {
    expect([...kustomization.resources].toSorted()).toEqual(manifestFiles.toSorted());
    expect(Object.keys(kustomization).toSorted()).toEqual([
      "apiVersion",
      "configMapGenerator",
      "images",
      "kind",
      "namespace",
      "resources",
      "secretGenerator",
    ]);
    expect(kustomization).toMatchObject({
      apiVersion: "kustomize.config.k8s.io/v1beta1",
      kind: "Kustomization",
    });
  });

  test("puts everything into a namespace that it makes", () => {
    expect(ofKind("Namespace").map(({ metadata }) => metadata?.name)).toEqual([kustomization.namespace]);
  });

  test("gives our image the version of the project", async () => {
    const { version } = JSON.parse(await readFile(join(ROOT, "package.json"), "utf8")) as { version: string };
    expect(kustomization.images).toEqual([{ name: "rollcall", newTag: version }]);
  });
});

test.each(manifests.map((manifest) => [`${manifest.kind} ${manifest.metadata.name}`, manifest] as const))(
  "%s has the values that the schema of Kubernetes asks for",
  async (_, manifest) => {
    const module = (await import(`kubernetes-models/${manifest.apiVersion}/${manifest.kind}`)) as Record<
      string,
      new (object: object) => { validate(): void }
    >;
    const Model = module[manifest.kind];
    if (!Model) throw new Error(`no model of ${manifest.kind}`);
    expect(() => new Model(manifest).validate()).not.toThrow();
  },
);

test("no manifest has a field that Kubernetes does not know", async () => {
  // Two that have one show that it would be found.
  const deployment = manifests.find(({ kind }) => kind === "Deployment");
  const text = JSON.stringify(deployment);
  const misspelt = [
    text.replace("readOnlyRootFilesystem", "readOnlyRootFileSystem"),
    text.replace('"strategy":', '"startegy":'),
  ].map((json) => JSON.parse(json) as Manifest);
  const refused = await refusedByTypes([...manifests, ...misspelt]);
  expect(refused).toEqual([
    [manifests.length, expect.stringContaining("readOnlyRootFileSystem")],
    [manifests.length + 1, expect.stringContaining("startegy")],
  ]);
});

/** Compares objects with the types of the Kubernetes API, in which an unknown field is an error: index and message. */
async function refusedByTypes(objects: readonly Manifest[]): Promise<[number, string][]> {
  const dir = temporaryDir("manifests");
  const compilerOptions = {
    strict: true,
    noEmit: true,
    module: "nodenext",
    target: "es2024",
    skipLibCheck: true,
    types: [],
  };
  writeFileSync(join(dir, "tsconfig.json"), JSON.stringify({ compilerOptions, include: ["*.ts"] }));
  for (const [index, object] of objects.entries()) {
    // "networking.k8s.io/v1" is in "networking/v1", "v1" in "core/v1".
    const [group = "", version] = object.apiVersion.split("/");
    const path = version === undefined ? `core/${group}` : `${group.split(".")[0]}/${version}`;
    const types = join(ROOT, "node_modules/kubernetes-types", `${path}.d.ts`);
    const source = `import type { ${object.kind} as Kind } from ${JSON.stringify(types)};
export const object: Kind = ${JSON.stringify(object, null, 1)};\n`;
    writeFileSync(join(dir, `${index}.ts`), source);
  }
  const tsc = join(ROOT, "node_modules/typescript/bin/tsc");
  const output = await new Promise<string>((resolve) => {
    execFile(process.execPath, [tsc, "-p", dir], (_, stdout, stderr) => resolve(stdout + stderr));
  });
  return [...output.matchAll(/^(?:.*\/)?(\d+)\.ts\(.*?error (.*)$/gm)].map(([, index, message = ""]) => [
    Number(index),
    message,
  ]);
}

describe.each(workloads)("$kind $name", (workload) => {
  const { name, kind, labels, pod, container, claims } = workload;

  test("mounts volumes that it has, and has no other ones", () => {
    const volumes = [...(pod.volumes ?? []).map((volume) => volume.name), ...claims];
    const mounted = (container.volumeMounts ?? []).map((mount) => mount.name);
    expect(mounted.toSorted()).toEqual(volumes.toSorted());
  });

  test("refers to ConfigMaps and Secrets, and keys in them, that are generated", () => {
    const variables = (container.envFrom ?? []).map(({ configMapRef }) => configMapRef?.name ?? "");
    expect(variables.filter((source) => !configMaps.has(source))).toEqual([]);

    for (const { generated, name: source, keys } of volumeSourcesOf(workload)) {
      expect([...generated.keys()]).toContain(source);
      expect(generated.get(source)).toEqual(expect.arrayContaining([...keys]));
    }
  });

  test("has probes on ports that it has", () => {
    const ports = new Set((container.ports ?? []).map((port) => port.name));
    const probed = probesOf(container).flatMap(
      ({ httpGet, tcpSocket }) => httpGet?.port ?? tcpSocket?.port ?? [],
    );
    expect(probed.filter((port) => !ports.has(String(port)))).toEqual([]);
    expect(probesOf(container).length).toBeGreaterThanOrEqual(kind === "Job" ? 0 : 2);
  });

  test("asks for processor and memory, and is bounded", () => {
    for (const amounts of [container.resources?.requests, container.resources?.limits]) {
      expect(Object.keys(amounts ?? {}).toSorted()).toEqual(["cpu", "memory"]);
    }
  });

  test("runs without rights that it does not need", () => {
    expect(pod).toMatchObject({
      automountServiceAccountToken: false,
      enableServiceLinks: false,
      securityContext: { runAsNonRoot: true, seccompProfile: { type: "RuntimeDefault" } },
    });
    expect(container.securityContext).toEqual({
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ["ALL"] },
    });
  });

  test("has the image of the same service in compose", () => {
    const { image = "" } = container;
    const inCompose = compose.services[name]?.image;
    const tag = kustomization.images.find((each) => each.name === image)?.newTag;
    expect(tag === undefined ? image : `${image}:${tag}`).toBe(inCompose);
  });

  test("is selected by itself alone", () => {
    const selectors = [...ofKind("Deployment"), ...ofKind("StatefulSet")].flatMap(({ metadata, spec }) =>
      selects(spec?.selector.matchLabels, labels) ? [metadata?.name] : [],
    );
    expect(selectors).toEqual(kind === "Job" ? [] : [name]);
  });
});

describe.each(nodeWorkloads)("the nodes of $name", ({ name, labels, pod, container }) => {
  const deployment = ofKind("Deployment").find(({ metadata }) => metadata?.name === name);

  test("are replaced one by one, each after its successor is ready", () => {
    expect(deployment?.spec?.strategy).toEqual({
      type: "RollingUpdate",
      rollingUpdate: { maxUnavailable: 0, maxSurge: 1 },
    });
  });

  test("are scaled at 80 % of the processor and of the memory, and by nothing else", () => {
    const [scaler, ...others] = ofKind("HorizontalPodAutoscaler").filter(
      ({ spec }) => spec?.scaleTargetRef.name === name,
    );
    expect(others).toEqual([]);
    expect(scaler?.spec?.scaleTargetRef).toEqual({ apiVersion: "apps/v1", kind: "Deployment", name });
    expect(scaler?.spec?.minReplicas).toBeGreaterThanOrEqual(2);
    const targets = scaler?.spec?.metrics?.map(({ resource }) => [
      resource?.name,
      resource?.target.averageUtilization,
    ]);
    expect(targets).toEqual([
      ["cpu", 80],
      ["memory", 80],
    ]);
    expect(deployment?.spec?.replicas).toBeUndefined();
  });

  test("keep running while machines are emptied", () => {
    const budgets = ofKind("PodDisruptionBudget").filter(({ spec }) =>
      selects(spec?.selector?.matchLabels, labels),
    );
    expect(budgets.map(({ spec }) => spec?.maxUnavailable)).toEqual([1]);
  });

  test("are spread over machines", () => {
    const constraints = pod.topologySpreadConstraints ?? [];
    expect(constraints.map(({ topologyKey }) => topologyKey)).toEqual(["kubernetes.io/hostname"]);
    expect(constraints.every(({ labelSelector }) => selects(labelSelector?.matchLabels, labels))).toBe(true);
  });

  test("listen on the ports that they declare", () => {
    const { PORT, METRICS_PORT } = loadConfig(imageEnvironment());
    const ports = (container.ports ?? []).map((port) => [port.name, port.containerPort]);
    const http = name === "gateway" ? [["http", PORT]] : [];
    expect(ports).toEqual([...http, ["metrics", METRICS_PORT]]);
    const annotations = deployment?.spec?.template.metadata?.annotations;
    expect(annotations).toMatchObject({
      "prometheus.io/scrape": "true",
      "prometheus.io/port": String(METRICS_PORT),
      "prometheus.io/path": "/metrics",
    });
  });

  test("are probed by paths that they serve", async () => {
    const log = createLogger(loadConfig({ LOG_LEVEL: "silent" }));
    const served: Record<string, string> = {
      http: Object.keys(healthHandlers({ check: neverCalled, isDraining: () => false, log })).join("\n"),
      metrics: await readFile(join(ROOT, "services/metrics/metrics.service.ts"), "utf8"),
    };
    const port = name === "gateway" ? "http" : "metrics";
    expect(probesOf(container).map(({ httpGet }) => [httpGet?.port, httpGet?.path])).toEqual([
      [port, "/health/live"],
      [port, "/health/ready"],
      [port, "/health/live"],
    ]);
    for (const { httpGet } of probesOf(container)) expect(served[port]).toContain(httpGet?.path);
  });
});

describe.each(ofKind("Service").map(({ metadata, spec }) => [metadata?.name, spec] as const))(
  "the Service %s",
  (name, spec) => {
    test("leads to the workload of its name, on ports that it has", () => {
      const selected = workloads.filter(({ labels }) => selects(spec?.selector, labels));
      expect(selected.map((each) => each.name)).toEqual([name]);
      const ports = selected[0]?.container.ports?.map((port) => port.name);
      expect(ports).toEqual(expect.arrayContaining((spec?.ports ?? []).map(({ targetPort }) => targetPort)));
    });
  },
);

test("the Ingress leads to a port of a Service", () => {
  const backends = ofKind("Ingress").flatMap(
    ({ spec }) => spec?.rules?.flatMap(({ http }) => http?.paths.map(({ backend }) => backend.service)) ?? [],
  );
  expect(backends.length).toBeGreaterThan(0);
  for (const backend of backends) {
    const service = ofKind("Service").find(({ metadata }) => metadata?.name === backend?.name);
    expect(service?.spec?.ports?.map((port) => port.name)).toContain(backend?.port?.name);
  }
});

test("StatefulSets are governed by a Service of theirs", () => {
  const services = ofKind("Service").map(({ metadata }) => metadata?.name);
  const governing = ofKind("StatefulSet").map(({ spec }) => spec?.serviceName);
  expect(services).toEqual(expect.arrayContaining(governing));
});

test("what the deployment applies last are the nodes, after the migration", () => {
  expect(ownWorkloads.map(({ kind, labels }) => [kind, labels["tier"]])).toEqual([
    ["Deployment", "node"],
    ["Deployment", "node"],
    ["Deployment", "node"],
    ["Deployment", "node"],
    ["Deployment", "node"],
    ["Deployment", "node"],
    ["Job", "migration"],
  ]);
});

test("a cluster of kind gets the same, with volumes for one machine only", async () => {
  const overlay = parse(await readFile(join(ROOT, "k8s-kind/kustomization.yaml"), "utf8")) as Overlay;
  expect(overlay).toEqual({
    apiVersion: kustomization.apiVersion,
    kind: kustomization.kind,
    resources: ["../k8s"],
    patches: [{ target: { kind: "PersistentVolumeClaim" }, patch: expect.any(String) }],
  });
  expect(overlay.patches.map(({ patch }) => parse(patch) as unknown)).toEqual([
    [{ op: "replace", path: "/spec/accessModes", value: ["ReadWriteOnce"] }],
  ]);
  // A patch does not reach those that are within other objects.
  const templates = ofKind("StatefulSet").flatMap(({ spec }) => spec?.volumeClaimTemplates ?? []);
  expect(templates.map(({ spec }) => spec?.accessModes)).toEqual(templates.map(() => ["ReadWriteOnce"]));
});

interface Overlay {
  readonly patches: readonly { readonly patch: string }[];
}

function neverCalled(): never {
  throw new Error("not called");
}
