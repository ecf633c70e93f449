import { fork } from "node:child_process";
import { once } from "node:events";
import { availableParallelism } from "node:os";
import { join } from "node:path";

import { MEDIA_FORMATS } from "../lib/media-path.ts";
import { photo, PRESETS, saved, startImageProcessor } from "../test/support/images.ts";
import { temporaryDir } from "../test/support/test-run.ts";
import { renderTable, verdict } from "./figures.ts";
import type { PeerJob } from "./peers/sharp.ts";
import { median } from "./statistics.ts";

/** Least share of the throughput of the bare script. */
const SPEED_TARGET = 0.9;
const [WIDTH, HEIGHT] = [4000, 3000];

/** Images per second of both sides, taken right after each other. */
interface Round {
  rollcall: number;
  peer: number;
}

/** A photograph of 12 megapixels in all presets and formats: the image processor against a bare script that calls sharp. */
export async function measurePresets(rounds: number, images: number): Promise<string> {
  const source = await saved((await photo(WIDTH, HEIGHT)).jpeg({ quality: 85 }), "photo.jpg");
  const parallel = availableParallelism();
  const processor = startImageProcessor({ workers: parallel, queueMax: images });
  const peer = fork(join(import.meta.dirname, "peers/sharp.ts"));

  async function runRollcall(count: number): Promise<number> {
    const startedAt = performance.now();
    // The files of one image take the place of those of another.
    const folders = Array.from({ length: count }, () => temporaryDir("presets"));
    await Promise.all(folders.map((folder) => processor.process(source, folder)));
    return count / ((performance.now() - startedAt) / 1000);
  }

  async function runPeer(count: number): Promise<number> {
    const job: PeerJob = { source, folder: temporaryDir("peer"), presets: PRESETS, images: count, parallel };
    const answer = once(peer, "message") as Promise<[number]>;
    peer.send(job);
    const [seconds] = await answer;
    return count / seconds;
  }

  /** In turns (A B, B A, …): what else the machine does meanwhile troubles both alike. */
  async function measureRound(round: number): Promise<Round> {
    if (round % 2 === 0) return { rollcall: await runRollcall(images), peer: await runPeer(images) };
    const bare = await runPeer(images);
    return { rollcall: await runRollcall(images), peer: bare };
  }

  try {
    // Not counted: it starts the workers.
    await Promise.all([runRollcall(parallel), runPeer(parallel)]);
    const measured: Round[] = [];
    for (let round = 0; round < rounds; round += 1) {
      console.error(`presets, round ${round + 1} of ${rounds}`);
      measured.push(await measureRound(round));
    }
    return render(measured, parallel);
  } finally {
    peer.disconnect();
    await processor.stop();
  }
}

function render(measured: readonly Round[], parallel: number): string {
  const ratio = median(measured.map(({ rollcall, peer }) => rollcall / peer));
  const rows = measured.map(({ rollcall, peer }, index) => [
    String(index + 1),
    rollcall.toFixed(2),
    peer.toFixed(2),
    (rollcall / peer).toFixed(2),
  ]);
  return [
    `A JPEG of 12 megapixels becomes ${PRESETS.length * MEDIA_FORMATS.length} files, ${parallel} images at a time. The peer is a bare script that calls sharp for the same files, also with one decode for each image.`,
    renderTable(["Round", "Rollcall images/s", "Peer images/s", "Ratio"], rows),
    `Median ${ratio.toFixed(2)}; target at least ${SPEED_TARGET}: ${verdict(ratio >= SPEED_TARGET)}.`,
  ].join("\n\n");
}
