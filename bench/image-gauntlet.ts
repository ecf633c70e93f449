import { attacks, type Attack } from "../test/support/image-gauntlet.ts";
import { photo } from "../test/support/images.ts";
import { watchMemory } from "../test/support/process-memory.ts";
import { renderTable, verdict } from "./figures.ts";
import type { ImageNodes } from "./image-nodes.ts";
import { runLoadGenerator } from "./measure.ts";
import { median } from "./statistics.ts";

const READ_CONNECTIONS = 10;
const ATTACKERS = 4;
const ATTEMPTS_OF_EACH = 5;
const REFUSAL_TARGET_MS = 200;
/** Most times over that the p99 of reads may be. */
const P99_TARGET = 2;
const MEMORY_TARGET_MB = 512;

const UPLOADS = 20;
const UPLOAD_BYTES = 10_485_760;
const GROWTH_TARGET_MB = 200;

/** How soon the files of the gauntlet are refused, one after another, from the first byte sent to the answer. */
export async function measureRefusals({ upload }: ImageNodes): Promise<string> {
  const refused: { name: string; ms: number }[] = [];
  for (const { name, bytes } of await attacks()) {
    const times: number[] = [];
    let status = 0;
    for (let attempt = 0; attempt < ATTEMPTS_OF_EACH; attempt += 1) {
      const startedAt = performance.now();
      ({ status } = await upload(bytes));
      times.push(performance.now() - startedAt);
    }
    if (status >= 500) throw new Error(`${name} was answered with ${status}`);
    if (status >= 400) refused.push({ name, ms: median(times) });
  }
  const slowest = refused.toSorted((a, b) => b.ms - a.ms);
  const rows = slowest.slice(0, 5).map(({ name, ms }) => [name, ms.toFixed(0)]);
  const worst = slowest[0]?.ms ?? Number.NaN;
  return [
    `${refused.length} files of the gauntlet are refused, the others become images. The slowest refusals, medians of ${ATTEMPTS_OF_EACH}:`,
    renderTable(["File", "ms"], rows),
    `Target at most ${REFUSAL_TARGET_MS} ms: ${verdict(worst <= REFUSAL_TARGET_MS)}.`,
  ].join("\n\n");
}

/** p99 of the reads of a path in milliseconds, without uploads and beside them. */
interface Disturbed {
  title: string;
  path: string;
  alone: number[];
  beside: number[];
}

/** What the gauntlet costs those who read, and the node of images in memory. */
export async function measureDisturbance(
  nodes: ImageNodes,
  rounds: number,
  seconds: number,
): Promise<string> {
  const list = await attacks();
  const reads = await readsOf(nodes);
  const peakOf = watchMemory(nodes.imagesPid);
  let uploads = 0;
  for (let round = 1; round <= rounds; round += 1) {
    console.error(`reads beside the gauntlet, round ${round} of ${rounds}`);
    for (const { path, alone } of reads) alone.push(await read(nodes, path, seconds));
    const stop = new AbortController();
    const attacking = attack(nodes, list, stop.signal);
    for (const { path, beside } of reads) beside.push(await read(nodes, path, seconds));
    stop.abort();
    uploads += await attacking;
  }
  const peakMb = peakOf() / 1e6;
  const measured = reads.map(({ title, alone, beside }) => {
    const times = median(alone.map((each, round) => (beside[round] ?? Number.NaN) / each));
    return { title, alone: median(alone), beside: median(beside), times };
  });
  const rows = measured.map(({ title, alone, beside, times }) => [
    title,
    alone.toFixed(2),
    beside.toFixed(2),
    times.toFixed(2),
    verdict(times <= P99_TARGET),
  ]);
  const perSecond = uploads / (rounds * reads.length * seconds);
  return [
    `Reads over ${READ_CONNECTIONS} connections by a client that does not wait for processors, as on a machine of its own, while ${ATTACKERS} clients upload the gauntlet again and again, ${perSecond.toFixed(1)} files a second; p99 in milliseconds, medians of ${rounds} rounds. Target at most ${P99_TARGET} times.`,
    renderTable(["Read", "p99 alone", "p99 beside", "times", "target"], rows),
    `The node of images with its workers took ${peakMb.toFixed(0)} MB at most; target at most ${MEMORY_TARGET_MB}: ${verdict(peakMb <= MEMORY_TARGET_MB)}.`,
  ].join("\n\n");
}

/** What others read while one user uploads, and that user itself, which each upload changes. */
async function readsOf({ client, userId, upload }: ImageNodes): Promise<Disturbed[]> {
  const { id: otherId } = await client.createUser();
  const { json } = await upload(await (await photo(1600, 1200)).jpeg().toBuffer());
  const { urls } = json as { urls: { medium: { webp: string } } };
  const reads = [
    { title: "another user", path: `/api/v1/users/${otherId}` },
    { title: "the user who uploads", path: `/api/v1/users/${userId}` },
    { title: "a list of users", path: "/api/v1/users?limit=20" },
    { title: "a file of an image", path: urls.medium.webp },
    { title: "health", path: "/health/live" },
  ];
  return reads.map(({ title, path }) => ({ title, path, alone: [], beside: [] }));
}

/** By how much large uploads that come together make the nodes grow. */
export async function measureUploads(nodes: ImageNodes): Promise<string> {
  const jpeg = await (await photo(4000, 3000)).jpeg({ quality: 95 }).toBuffer();
  // What comes after the end of an image belongs to none, but has to be taken all the same.
  const bytes = Buffer.concat([jpeg, Buffer.alloc(UPLOAD_BYTES - jpeg.length)]);
  const gateway = watchMemory(nodes.gatewayPid);
  const images = watchMemory(nodes.imagesPid);
  const before = { gateway: watchMemory(nodes.gatewayPid)(), images: watchMemory(nodes.imagesPid)() };
  const startedAt = performance.now();
  const answers = await Promise.all(Array.from({ length: UPLOADS }, () => nodes.upload(bytes)));
  const seconds = (performance.now() - startedAt) / 1000;
  const wrong = answers.find(({ status }) => status !== 201);
  if (wrong) throw new Error(`An upload was answered with ${wrong.text}`);
  const grown = { gateway: (gateway() - before.gateway) / 1e6, images: (images() - before.images) / 1e6 };
  return [
    `${UPLOADS} uploads of 10 MiB at the same time, each an image of 12 megapixels, took ${seconds.toFixed(1)} s.`,
    `The gateway grew by ${grown.gateway.toFixed(0)} MB; target at most ${GROWTH_TARGET_MB}: ${verdict(grown.gateway <= GROWTH_TARGET_MB)}.`,
    `The node of images grew by ${grown.images.toFixed(0)} MB, its first worker included; target at most ${GROWTH_TARGET_MB}: ${verdict(grown.images <= GROWTH_TARGET_MB)}.`,
  ].join("\n\n");
}

async function read({ client }: ImageNodes, path: string, seconds: number): Promise<number> {
  const { p99, unexpected, failed } = await runLoadGenerator({
    baseUrl: client.url,
    paths: [path],
    creates: false,
    headers: { authorization: `Bearer ${client.token}` },
    connections: READ_CONNECTIONS,
    seconds,
    isFirst: true,
  });
  if (failed > 0 || Object.keys(unexpected).length > 0) {
    throw new Error(`Reads failed: ${failed} times, and ${JSON.stringify(unexpected)}`);
  }
  return p99;
}

/** Uploads again and again, and gives how often. */
async function attack({ upload }: ImageNodes, list: readonly Attack[], until: AbortSignal): Promise<number> {
  let count = 0;
  const attackers = Array.from({ length: ATTACKERS }, async () => {
    while (!until.aborted) {
      const { bytes } = list[count % list.length] as Attack;
      count += 1;
      await upload(bytes);
    }
  });
  await Promise.all(attackers);
  return count;
}
