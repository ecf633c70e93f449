import { open, rm } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import type { Client } from "pg";

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

/** How PostgreSQL had its log kept on disk. */
export interface Flushes {
  count: number;
  meanMs: number;
}

const FLUSHES = `
  SELECT sum(fsyncs)::float8 AS count, sum(fsync_time)::float8 AS ms FROM pg_stat_io WHERE object = 'wal'`;

/**
 * Watches the flushes of PostgreSQL's log from now on. Needs `track_wal_io_timing`.
 *
 * @returns those since then
 */
export async function watchFlushes(database: Client): Promise<() => Promise<Flushes>> {
  const read = async (): Promise<{ count: number; ms: number }> => {
    const { rows } = await database.query<{ count: number; ms: number }>(FLUSHES);
    return rows[0] ?? { count: 0, ms: 0 };
  };
  const before = await read();
  return async () => {
    const after = await read();
    const count = after.count - before.count;
    return { count, meanMs: (after.ms - before.ms) / count };
  };
}
