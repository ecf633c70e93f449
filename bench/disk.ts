import { open, rm } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { temporaryDir } from "../test/support/test-run.ts";
import { latenciesOf, type Latencies } from "./statistics.ts";

const PAGE_BYTES = 8192;
const PAGES = 256;
const PAUSE_MS = 15;

/**
 * How long the disk takes to keep a page, as PostgreSQL has it do at a commit: no write can be acknowledged sooner. The
 * disk is that of the private servers.
 */
export async function measureDisk(seconds: number): Promise<Latencies> {
  const directory = temporaryDir("disk");
  const file = await open(join(directory, "pages"), "w");
  const page = Buffer.alloc(PAGE_BYTES, 1);
  try {
    // As with the segments of the WAL, the file does not grow.
    await file.write(Buffer.alloc(PAGES * PAGE_BYTES));
    await file.sync();
    const times: number[] = [];
    const endsAt = performance.now() + seconds * 1000;
    for (let count = 0; performance.now() < endsAt; count += 1) {
      const startedAt = performance.now();
      await file.write(page, 0, PAGE_BYTES, (count % PAGES) * PAGE_BYTES);
      await file.datasync();
      times.push(performance.now() - startedAt);
      await sleep(PAUSE_MS);
    }
    return latenciesOf(times);
  } finally {
    await file.close();
    await rm(directory, { recursive: true });
  }
}
