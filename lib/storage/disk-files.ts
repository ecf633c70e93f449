import type { Dirent } from "node:fs";
import { copyFile, open, readdir, rename, rm, rmdir, stat, unlink, type FileHandle } from "node:fs/promises";
import { dirname, join } from "node:path";
import { makeFolder } from "../make-folder.ts";
import type { LocalFile } from "./storage.ts";

/** What is still unfinished after this time was left by a process that was killed. */
const LEFTOVER_AGE_MS = 60 * 60_000;
/** A folder that has become empty may be removed while something is put into it, also while it is made again. */
const MOVE_ATTEMPTS = 10;

interface Writing {
  /** Where the bytes are written first: in the same file system as the path. */
  temporary: string;
  path: string;
  /** Once it is aborted, nothing may appear at the path. */
  signal: AbortSignal;
  progress: () => void;
}

/** Copies a file to a path, so that it is there whole or not at all, also after a crash of the machine. */
export async function writeWhole(
  file: LocalFile,
  { temporary, path, signal, progress }: Writing,
): Promise<void> {
  await makeFolder(dirname(temporary));
  try {
    await copyFile(file.path, temporary);
    progress();
    await syncToDisk(temporary, file.bytes);
    signal.throwIfAborted();
    await move(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}

async function syncToDisk(path: string, expectedBytes: number): Promise<void> {
  const handle = await open(path, "r+");
  try {
    const { size } = await handle.stat();
    if (size !== expectedBytes)
      throw new Error(`${expectedBytes} bytes were to be stored, ${size} are there`);
    await handle.sync();
  } finally {
    await handle.close();
  }
}

async function move(from: string, to: string): Promise<void> {
  const folder = dirname(to);
  for (let attempt = 1; ; attempt += 1) {
    let firstMade: string | undefined;
    try {
      firstMade = await makeFolder(folder);
      await rename(from, to);
    } catch (error) {
      if (!isMissing(error) || attempt === MOVE_ATTEMPTS) throw error;
      continue;
    }
    await syncFolders(folder, firstMade === undefined ? folder : dirname(firstMade));
    return;
  }
}

/** From a folder up to another one: what is new in each survives a crash of the machine. */
async function syncFolders(from: string, upTo: string): Promise<void> {
  for (let folder = from; ; folder = dirname(folder)) {
    // It is gone when what was put there has been removed again.
    await syncFolder(folder);
    if (folder === upTo) return;
  }
}

/** @returns whether it is there */
async function syncFolder(path: string): Promise<boolean> {
  const handle = await unlessMissing(() => open(path, "r"));
  if (!handle) return false;
  try {
    await handle.sync();
    return true;
  } finally {
    await handle.close();
  }
}

/**
 * Opens a file to read it.
 *
 * @param signal once it is aborted, nobody would close the file any more: it is not kept open
 * @returns undefined when there is something else at the path
 */
export async function openFile(
  path: string,
  signal: AbortSignal,
): Promise<{ handle: FileHandle; size: number; mtime: Date } | undefined> {
  const handle = await open(path, "r");
  let isKept = false;
  try {
    const stats = await handle.stat();
    isKept = stats.isFile() && !signal.aborted;
    return isKept ? { handle, size: stats.size, mtime: stats.mtime } : undefined;
  } finally {
    if (!isKept) await handle.close();
  }
}

/**
 * Removes a file, if it is there, and the folders below the root that are empty then.
 *
 * @returns the folder to {@link syncNearest}, lest they are there again after a crash of the machine
 */
export async function removeFile(root: string, path: string): Promise<string> {
  await unlessMissing(() => unlink(path));
  let folder = dirname(path);
  try {
    for (; folder !== root; folder = dirname(folder)) await rmdir(folder);
  } catch {
    // Not empty, or removed by somebody else. At worst an empty folder stays.
  }
  return folder;
}

/** Syncs a folder or, when it is gone itself, the nearest above it that is there: that one has lost it. */
export async function syncNearest(path: string): Promise<void> {
  for (let folder = path; !(await syncFolder(folder));) folder = dirname(folder);
}

/** Removes what has been unfinished for so long that nobody works on it any more. */
export async function removeLeftovers(folder: string): Promise<void> {
  for (const { name } of await entriesOf(folder)) {
    const path = join(folder, name);
    const stats = await unlessMissing(() => stat(path));
    if (stats && Date.now() - stats.mtimeMs > LEFTOVER_AGE_MS) await rm(path, { force: true });
  }
}

/** None when there is no such folder. */
export async function entriesOf(folder: string): Promise<Dirent[]> {
  return (await unlessMissing(() => readdir(folder, { withFileTypes: true }))) ?? [];
}

/** What the work gives; undefined when what it looks for is not there. */
export async function unlessMissing<T>(work: () => Promise<T>): Promise<T | undefined> {
  try {
    return await work();
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}

function isMissing(error: unknown): boolean {
  return ["ENOENT", "ENOTDIR"].includes((error as NodeJS.ErrnoException).code ?? "");
}
