import { globSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";

import type { Deployment, StatefulSet } from "kubernetes-types/apps/v1.d.ts";
import type { HorizontalPodAutoscaler } from "kubernetes-types/autoscaling/v2.d.ts";
import type { Job } from "kubernetes-types/batch/v1.d.ts";
import type {
  Container,
  Namespace,
  PersistentVolumeClaim,
  PodSpec,
  Probe,
  Service,
} from "kubernetes-types/core/v1.d.ts";
import type { Ingress } from "kubernetes-types/networking/v1.d.ts";
import type { PodDisruptionBudget } from "kubernetes-types/policy/v1.d.ts";
import { parse, parseAllDocuments } from "yaml";

import { parseEnvFile } from "./container-image.ts";

/** The kinds of objects in k8s/. */
interface Kinds {
  Deployment: Deployment;
  HorizontalPodAutoscaler: HorizontalPodAutoscaler;
  Ingress: Ingress;
  Job: Job;
  Namespace: Namespace;
  PersistentVolumeClaim: PersistentVolumeClaim;
  PodDisruptionBudget: PodDisruptionBudget;
  Service: Service;
  StatefulSet: StatefulSet;
}

export interface Manifest {
  readonly apiVersion: string;
  readonly kind: keyof Kinds;
  readonly metadata: { readonly name: string };
}

/** The fields of a kustomization that are used; there are to be no others. */
export interface Kustomization {
  readonly apiVersion: string;
  readonly kind: string;
  readonly namespace: string;
  readonly resources: readonly string[];
  readonly images: readonly { name: string; newTag: string }[];
  readonly configMapGenerator: readonly { name: string; envs?: string[]; files?: string[] }[];
  readonly secretGenerator: readonly { name: string; files: string[] }[];
}

/** What runs pods. */
export interface Workload {
  readonly kind: "Deployment" | "StatefulSet" | "Job";
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly pod: PodSpec;
  readonly container: Container;
  /** Names of the volumes that it claims. */
  readonly claims: readonly string[];
}

const FOLDER = join(import.meta.dirname, "../../k8s");

/** The files of manifests, as the kustomization names them. */
export const manifestFiles = globSync("*.yaml", { cwd: FOLDER }).filter(
  (file) => file !== "kustomization.yaml",
);

// Kubernetes reads YAML 1.1, in which 0440 is octal.
export const kustomization = parse(read("kustomization.yaml"), { version: "1.1" }) as Kustomization;

export const manifests: readonly Manifest[] = manifestFiles.flatMap((file) =>
  parseAllDocuments(read(file), { version: "1.1" }).map((document) => {
    if (document.errors[0]) throw document.errors[0];
    return document.toJS() as Manifest;
  }),
);

export function ofKind<Kind extends keyof Kinds>(kind: Kind): Kinds[Kind][] {
  return manifests.filter((manifest) => manifest.kind === kind) as unknown as Kinds[Kind][];
}

export const workloads: readonly Workload[] = [
  ...ofKind("Deployment").map((object) => workload("Deployment", object)),
  ...ofKind("StatefulSet").map((object) => workload("StatefulSet", object)),
  ...ofKind("Job").map((object) => workload("Job", object)),
];

/** The workloads that run our image. */
export const ownWorkloads = workloads.filter(({ container }) => container.image === "rollcall");

/** Those of them that serve until they are told to stop. */
export const nodeWorkloads = ownWorkloads.filter(({ kind }) => kind === "Deployment");

/** What is in the generated ConfigMaps and Secrets: keys by name. */
export const configMaps = keysOf(kustomization.configMapGenerator);
export const secrets = keysOf(kustomization.secretGenerator);

/** The environment of a workload's container, without what comes from the image. */
export function environmentOf({ container, name }: Workload): Record<string, string> {
  const shared = (container.envFrom ?? []).map(({ configMapRef }) => settingsOf(configMapRef?.name ?? ""));
  const own = (container.env ?? []).map(({ name: variable, value, valueFrom }) => [
    variable,
    valueFrom?.fieldRef?.fieldPath === "metadata.name" ? `${name}-5d8f` : (value ?? ""),
  ]);
  return Object.assign({}, ...shared, Object.fromEntries(own)) as Record<string, string>;
}

export function probesOf({ startupProbe, readinessProbe, livenessProbe }: Container): Probe[] {
  return [startupProbe, readinessProbe, livenessProbe].filter((probe) => probe !== undefined);
}

/** A generated ConfigMap or Secret that a volume is made of, and the keys that it takes of it. */
export interface VolumeSource {
  readonly generated: ReadonlyMap<string, readonly string[]>;
  readonly name: string;
  readonly keys: readonly string[];
}

export function volumeSourcesOf({ pod }: Workload): VolumeSource[] {
  const sourceOf = (
    generated: VolumeSource["generated"],
    name: string | undefined,
    items: { key: string }[] = [],
  ): VolumeSource => ({ generated, name: name ?? "", keys: items.map(({ key }) => key) });
  const volumes = pod.volumes ?? [];
  const projections = volumes.flatMap(({ projected }) => projected?.sources ?? []);
  return [
    ...[...volumes, ...projections].flatMap(({ configMap }) =>
      configMap ? sourceOf(configMaps, configMap.name, configMap.items) : [],
    ),
    ...volumes.flatMap(({ secret }) => (secret ? sourceOf(secrets, secret.secretName, secret.items) : [])),
    ...projections.flatMap(({ secret }) => (secret ? sourceOf(secrets, secret.name, secret.items) : [])),
  ];
}

/** Whether a selector, which must not be empty, matches labels. */
export function selects(
  selector: Readonly<Record<string, string>> | undefined,
  labels: Readonly<Record<string, string>> | undefined,
): boolean {
  const wanted = Object.entries(selector ?? {});
  return wanted.length > 0 && wanted.every(([name, value]) => labels?.[name] === value);
}

function read(file: string): string {
  return readFileSync(join(FOLDER, file), "utf8");
}

function workload(kind: Workload["kind"], object: Deployment | StatefulSet | Job): Workload {
  const name = object.metadata?.name ?? "";
  const template = object.spec?.template;
  const [container, ...others] = template?.spec?.containers ?? [];
  if (!template?.spec || !container || others.length > 0)
    throw new Error(`${name} should have one container`);
  const claims = object.spec && "volumeClaimTemplates" in object.spec ? object.spec.volumeClaimTemplates : [];
  return {
    kind,
    name,
    labels: template.metadata?.labels ?? {},
    pod: template.spec,
    container,
    claims: (claims ?? []).map(({ metadata }) => metadata?.name ?? ""),
  };
}

function keysOf(
  generators: readonly { name: string; envs?: string[]; files?: string[] }[],
): ReadonlyMap<string, readonly string[]> {
  return new Map(
    generators.map(({ name, envs = [], files = [] }) => [
      name,
      [
        ...envs.flatMap((file) => Object.keys(parseEnvFile(read(file)))),
        ...files.map((file) => basename(file)),
      ],
    ]),
  );
}

function settingsOf(configMap: string): Record<string, string> {
  const { envs = [] } = kustomization.configMapGenerator.find(({ name }) => name === configMap) ?? {};
  return Object.assign({}, ...envs.map((file) => parseEnvFile(read(file)))) as Record<string, string>;
}
