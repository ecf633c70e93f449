import type { Config } from "../../lib/config.ts";
import type { Database } from "../../lib/database.ts";
import { newId } from "../../lib/ids.ts";
import { originalKey, VISIBILITIES, type Visibility } from "../../lib/media-path.ts";
import { actorOf } from "../../lib/principal.ts";
import type { ObjectInfo, Storage } from "../../lib/storage/storage.ts";
import { appendEvents } from "../../mixins/unit-of-work.store.ts";
import { allowIdle } from "./creation.ts";
import { deleteImage } from "./deletion.ts";
import { MAX_FINDINGS, type ReconcileReport } from "./images.contract.ts";
import { ImagesRepository } from "./images.repository.ts";
import { isKnownHash, rowsByHash, type ImageRow } from "./reconcile.repository.ts";

/** What is younger may belong to something that is under way. */
const SPARED_MS = 3_600_000;

interface ReconcileParts {
  database: Database;
  storage: Storage;
  config: Pick<Config, "IMAGE_PRESETS" | "IMAGE_FORMATS" | "SERVICE_PRINCIPAL">;
}

/**
 * Compares the rows of images with the stored bytes, in the order of their hashes, so that neither need fit into memory.
 * What does not fit is looked at once more before it is told, since both change meanwhile.
 *
 * @param options `fix` deletes rows without bytes, with their events, and bytes without rows, unless not one image has
 *   its bytes there: that is a wrong bucket, a volume that is not mounted, or the database of another system
 * @throws STORAGE_UNAVAILABLE, and the errors of the database
 */
export async function reconcile(parts: ReconcileParts, { fix }: { fix: boolean }): Promise<ReconcileReport> {
  const run = new Reconciliation(parts, { fix, isForeign: await hasNothingInCommon(parts) });
  await run.compareOriginals();
  for (const visibility of VISIBILITIES) await run.compareFiles(visibility);
  const { report } = run;
  // Where nothing is amiss the storage is the right one: the last images are just being removed from it, or the first made.
  return { ...report, isForeign: report.isForeign && report.found > 0 };
}

class Reconciliation {
  readonly report: ReconcileReport;
  readonly #parts: ReconcileParts;
  readonly #images: ImagesRepository;
  readonly #sparedAfter = Date.now() - SPARED_MS;

  constructor(parts: ReconcileParts, { fix, isForeign }: { fix: boolean; isForeign: boolean }) {
    this.#parts = parts;
    this.#images = new ImagesRepository(parts.database);
    this.report = {
      images: 0,
      objects: 0,
      rowsWithoutBytes: [],
      bytesWithoutRows: [],
      found: 0,
      missingFiles: 0,
      isForeign,
      isFixed: fix && !isForeign,
    };
  }

  async compareOriginals(): Promise<void> {
    for await (const { left: row, right: group } of rowsWithOriginals(this.#parts)) {
      if (row) this.report.images += 1;
      if (row && !group) await this.#checkRow(row);
      await this.#checkGroup(row, group);
    }
  }

  async compareFiles(visibility: Visibility): Promise<void> {
    const { database, storage, config } = this.#parts;
    const prefix = `media/${visibility}/`;
    const wanted = config.IMAGE_PRESETS.flatMap(({ name }) =>
      config.IMAGE_FORMATS.map((format) => `${name}.${format}`),
    );
    const objects = groupByHash(storage.list(prefix), prefix);
    for await (const { left: row, right: group } of mergeByHash(rowsByHash(database, visibility), objects)) {
      if (row) {
        const there = new Set(
          group?.objects.map(({ key }) => key.slice(prefix.length + row.hash.length + 1)),
        );
        this.report.missingFiles += wanted.filter((name) => !there.has(name)).length;
      }
      await this.#checkGroup(row, group);
    }
  }

  async #checkRow({ id, hash }: ImageRow): Promise<void> {
    const { database, storage, config } = this.#parts;
    const isGone = await database.transaction(async (transaction) => {
      allowIdle(transaction);
      const row = await this.#images.lock(id, transaction);
      // Bytes are there before a row is, and a row that is deleted is not locked any more.
      if (!row || (await storage.head(originalKey(hash)))) return false;
      if (!this.report.isFixed) return true;
      const events = await deleteImage(this.#images, row, transaction);
      const actor = actorOf({ kind: "service", name: config.SERVICE_PRINCIPAL });
      transaction.enlist(appendEvents(transaction, events, { actor, requestId: newId(), now: new Date() }));
      return true;
    });
    if (isGone) this.#tell(this.report.rowsWithoutBytes, id);
  }

  async #checkGroup(row: ImageRow | undefined, group: ObjectGroup | undefined): Promise<void> {
    const { database, storage } = this.#parts;
    if (!group) return;
    this.report.objects += group.objects.length;
    if (row) return;
    const old = group.objects.filter(({ modifiedAt }) => modifiedAt.getTime() < this.#sparedAfter);
    if (old.length === 0 || (await isKnownHash(database, group.hash))) return;
    const keys = old.map(({ key }) => key);
    for (const key of keys) this.#tell(this.report.bytesWithoutRows, key);
    if (this.report.isFixed) await storage.remove(keys);
  }

  #tell(findings: string[], finding: string): void {
    this.report.found += 1;
    if (findings.length < MAX_FINDINGS) findings.push(finding);
  }
}

/** Whether there are images or bytes, but no image has its bytes. It reads no further than to the first one that has. */
async function hasNothingInCommon(parts: ReconcileParts): Promise<boolean> {
  let isAnythingThere = false;
  for await (const { left: row, right: group } of rowsWithOriginals(parts)) {
    if (row && group) return false;
    isAnythingThere = true;
  }
  return isAnythingThere;
}

function rowsWithOriginals({ database, storage }: ReconcileParts) {
  return mergeByHash(rowsByHash(database), groupByHash(storage.list("originals/"), "originals/"));
}

/** The objects of one image. */
interface ObjectGroup {
  hash: string;
  objects: ObjectInfo[];
}

/** @param objects ascending by key; what follows the prefix begins with the hash of their image */
async function* groupByHash(objects: AsyncIterable<ObjectInfo>, prefix: string): AsyncGenerator<ObjectGroup> {
  let group: ObjectGroup | undefined;
  for await (const object of objects) {
    const [hash = ""] = object.key.slice(prefix.length).split("/");
    if (group?.hash === hash) {
      group.objects.push(object);
      continue;
    }
    if (group) yield group;
    group = { hash, objects: [object] };
  }
  if (group) yield group;
}

/** Pairs what has the same hash of two sides that ascend by it; what has no counterpart comes alone. */
async function* mergeByHash<Left extends { hash: string }, Right extends { hash: string }>(
  lefts: AsyncIterator<Left>,
  rights: AsyncIterator<Right>,
): AsyncGenerator<{ left: Left | undefined; right: Right | undefined }> {
  let [left, right] = [await next(lefts), await next(rights)];
  while (left || right) {
    const takesLeft = left !== undefined && (right === undefined || left.hash <= right.hash);
    const takesRight = right !== undefined && (left === undefined || right.hash <= left.hash);
    yield { left: takesLeft ? left : undefined, right: takesRight ? right : undefined };
    if (takesLeft) left = await next(lefts);
    if (takesRight) right = await next(rights);
  }
}

async function next<T>(iterator: AsyncIterator<T>): Promise<T | undefined> {
  const result = await iterator.next();
  return result.done ? undefined : result.value;
}
