import { existsSync, globSync, readFileSync } from "node:fs";
import { isBuiltin } from "node:module";
import { dirname, join, relative } from "node:path";

import { describe, expect, test } from "@jest/globals";

import { dockerfileStages, imageInstructions } from "../../support/container-image.ts";

const ROOT = join(import.meta.dirname, "../../..");
const IMPORT = /(?:^(?:import|export)\s(?!type\s)[^"';]*?from\s+|^import\s+|\bimport\()"([^"]+)"/gm;

const manifest = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as {
  dependencies: Record<string, string>;
  devDependencies: Record<string, string>;
  scripts: Record<string, string>;
};
const lines = (file: string): string[] =>
  readFileSync(join(ROOT, file), "utf8")
    .split("\n")
    .filter((line) => line !== "" && !line.startsWith("#"));

/** Files and folders of the checkout that are copied into the image. */
const copied = imageInstructions("COPY")
  .filter((words) => !words.startsWith("--from"))
  .flatMap((words) => words.split(/\s+/).slice(0, -1));
const sources = copied.flatMap((path) =>
  path.endsWith(".ts") ? path : globSync(`${path}/**/*.{js,ts}`, { cwd: ROOT }),
);
const importsOf = (file: string): string[] =>
  [...readFileSync(join(ROOT, file), "utf8").matchAll(IMPORT)].map(([, name = ""]) => name);
/** What `import` names of packages: `pg` of `pg/lib/x`, `@scope/name` of `@scope/name/x`. */
const packageOf = (name: string): string =>
  name
    .split("/")
    .slice(0, name.startsWith("@") ? 2 : 1)
    .join("/");

describe("the image", () => {
  test("has every file that is imported in it", () => {
    expect(sources.length).toBeGreaterThan(40);
    const imported = sources.flatMap((file) =>
      importsOf(file)
        .filter((name) => name.startsWith("."))
        .map((name) => relative(ROOT, join(ROOT, dirname(file), name))),
    );
    expect(imported.filter((file) => !sources.includes(file))).toEqual([]);
  });

  test("has every package that is imported in it, without those for development", () => {
    const packages = sources.flatMap((file) =>
      importsOf(file)
        .filter((name) => !name.startsWith(".") && !isBuiltin(name))
        .map(packageOf),
    );
    expect(packages).toContain("moleculer");
    expect(packages.filter((name) => !(name in manifest.dependencies))).toEqual([]);
    const install = dockerfileStages()[0]?.find(
      ({ name, words }) => name === "RUN" && words.includes("npm ci"),
    );
    expect(install?.words).toContain("--omit=dev");
  });

  test("has the programs that start and migrate", () => {
    const [, start] = JSON.parse(imageInstructions("CMD")[0] ?? "[]") as string[];
    const migrate = /^node (\S+)$/.exec(manifest.scripts["migrate"] ?? "")?.[1];
    expect(sources).toEqual(expect.arrayContaining([start, migrate]));
  });

  test("runs as an ordinary user, by number", () => {
    expect(imageInstructions("USER")).toEqual(["1000:1000"]);
  });

  test("is built of nothing else in the checkout", () => {
    const [everything, ...exceptions] = lines(".dockerignore");
    expect(everything).toBe("*");
    const needed = new Set([...copied, "package-lock.json"]);
    expect(exceptions.toSorted()).toEqual([...needed].map((path) => `!${path}`).toSorted());
    expect([...needed].filter((path) => !existsSync(join(ROOT, path)))).toEqual([]);
  });

  test("has the Node.js that the tests run on", () => {
    const bases = new Set(dockerfileStages().map(([from]) => from?.words.split(" ")[0]));
    const major = /\d+/.exec(manifest.devDependencies["node"] ?? "")?.[0];
    expect([...bases]).toEqual([`node:${major}-bookworm-slim`]);
  });
});
