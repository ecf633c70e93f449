/**
 * `node bench/images.ts`: how fast images are processed, how soon bad ones are refused, and what uploads cost others and
 * in memory. Each part goes on record in `IMAGES.md` when it is done, so parts can be taken alone:
 *
 *     node bench/images.ts --only presets
 *     node bench/images.ts --only uploads,refusals,disturbance
 *
 * With other options the figures are only printed: `--rounds 1 --images 4 --seconds 3`.
 */
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";

import { readOptions, refuse } from "./command-line.ts";
import { measureDisturbance, measureRefusals, measureUploads } from "./image-gauntlet.ts";
import { startImageNodes, type ImageNodes } from "./image-nodes.ts";
import { measurePresets } from "./image-presets.ts";
import { describeMachine } from "./machine.ts";
import { startServers } from "./servers.ts";

const RECORD = join(import.meta.dirname, "IMAGES.md");

const options = readOptions({ only: undefined, rounds: 5, images: 16, seconds: 6 });
const isRecorded = process.argv
  .slice(2)
  .every((word, index, words) => word === "--only" || words[index - 1] === "--only");
const { rounds, images, seconds } = options;

/** In the order in which they run: uploads first, while the nodes have done nothing yet. */
const PARTS: Readonly<
  Record<string, { title: string; measure: (nodes: () => Promise<ImageNodes>) => Promise<string> }>
> = {
  presets: { title: "All presets of a photograph", measure: () => measurePresets(rounds, images) },
  uploads: { title: "Many large uploads", measure: async (nodes) => measureUploads(await nodes()) },
  refusals: { title: "Refusals", measure: async (nodes) => measureRefusals(await nodes()) },
  disturbance: {
    title: "Reads beside the gauntlet",
    measure: async (nodes) => measureDisturbance(await nodes(), rounds, seconds),
  },
};

const only = options.only?.split(",") ?? Object.keys(PARTS);
const unknown = only.filter((name) => !(name in PARTS));
if (unknown.length > 0) refuse(`--only: ${unknown.join(", ")} is none of ${Object.keys(PARTS).join(", ")}`);

console.error("starting PostgreSQL, NATS and Redis");
const servers = await startServers();
let nodes: Promise<ImageNodes> | undefined;
try {
  const machine = (await describeMachine(servers, 1)).slice(0, 3).join("\n");
  for (const [name, { title, measure }] of Object.entries(PARTS)) {
    if (!only.includes(name)) continue;
    console.error(title);
    const figures = `## ${title}\n\n${machine}\n\n${await measure(() => (nodes ??= startImageNodes(servers)))}`;
    console.log(`${figures}\n`);
    if (isRecorded) await record(title, figures);
  }
} finally {
  await (await nodes)?.stop();
  await servers.stop();
}

/** Puts a part in its place among those on record. */
async function record(title: string, figures: string): Promise<void> {
  const text = await readFile(RECORD, "utf8").catch(() => "");
  const [head = "", ...sections] = text.split(/^(?=## )/m);
  const parts = new Map(sections.map((section) => [section.slice(3, section.indexOf("\n")), section.trim()]));
  parts.set(title, figures);
  const inOrder = Object.values(PARTS).flatMap((part) => parts.get(part.title) ?? []);
  await writeFile(RECORD, `${[head.trim() || "# What images cost", ...inOrder].join("\n\n")}\n`);
}
