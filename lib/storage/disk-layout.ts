import type { Dirent } from "node:fs";
import { join } from "node:path";

/*
 * Where an object is below the root. Segments that are hashes or ids are without number, so they are spread over folders
 * by how they begin: `originals/9f86d0…` is in `originals/~9f8/9f86d0…`. `~` is in no key.
 */

const SHARD_MARK = "~";
const SHARD_LENGTH = 3;
/** Segments from this length on are spread: UUIDs and hashes. */
const SPREAD_LENGTH = 32;

/** @param key a valid one */
export function pathOf(root: string, key: string): string {
  const segments = key
    .split("/")
    .flatMap((segment) =>
      segment.length < SPREAD_LENGTH
        ? [segment]
        : [`${SHARD_MARK}${segment.slice(0, SHARD_LENGTH)}`, segment],
    );
  return join(root, ...segments);
}

interface Walk {
  root: string;
  /** Of a folder; none when there is no such folder. */
  read(path: string): Promise<readonly Dirent[]>;
}

/** The keys below a prefix that come after another key, in the order of S3: by code unit, with `/` as a character. */
export async function* listFolder(prefix: string, after: string, walk: Walk): AsyncIterable<string> {
  const folder = pathOf(walk.root, prefix.slice(0, -1));
  const groups = groupByBeginning(await walk.read(folder));
  for (const beginning of [...groups.keys()].toSorted()) {
    const start = `${prefix}${beginning}`;
    if (start < after.slice(0, start.length)) continue;
    const names = groups.get(beginning) ?? [];
    const spread = await walk.read(join(folder, `${SHARD_MARK}${beginning}`));
    const keys = [...names, ...spread.map(nameInKeys)].map((name) => `${prefix}${name}`);
    for (const key of keys.toSorted()) {
      const isFolder = key.endsWith("/");
      if (isFolder && (key > after || after.startsWith(key))) yield* listFolder(key, after, walk);
      if (!isFolder && key > after) yield key;
    }
  }
}

/** The names in a folder by how they begin, and an empty list for spread ones, which are in a folder of their own. */
function groupByBeginning(entries: readonly Dirent[]): Map<string, string[]> {
  const groups = new Map<string, string[]>();
  for (const entry of entries) {
    const isShard = entry.name.startsWith(SHARD_MARK);
    const name = isShard ? entry.name.slice(SHARD_MARK.length) : nameInKeys(entry);
    const beginning = name.slice(0, SHARD_LENGTH);
    const group = groups.get(beginning) ?? [];
    if (!isShard) group.push(name);
    groups.set(beginning, group);
  }
  return groups;
}

/** As it stands in keys: a folder is followed by `/`, which decides where it is among names such as `a.b`. */
function nameInKeys(entry: Dirent): string {
  return entry.isDirectory() ? `${entry.name}/` : entry.name;
}
