import { randomUUID } from "node:crypto";
import { lstat, mkdir, readdir, realpath, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { unlessDiskFull } from "./disk-full.ts";
import { StartupError } from "./startup-error.ts";

/** Those that this process has made and not removed. */
const open = new Set<string>();

/** A folder for the temporary files of this process, which no other user may enter. */
export interface TemporaryFolder {
  /**
   * Gives work a path in the folder, at which there is nothing yet. What it has put there is removed when it ends.
   *
   * @throws STORAGE_UNAVAILABLE when the disk is full, and what else the work throws
   */
  use<T>(work: (path: string) => Promise<T>): Promise<T>;
  /** Removes it with everything in it. */
  remove(): Promise<void>;
}

/**
 * Makes a folder below that of the system for temporary files (`TMPDIR`). What processes have left there that were
 * killed is removed first: the names say whose the folders are.
 *
 * @param purpose `[a-z]` words; only folders of the same purpose are looked at
 * @throws StartupError when it cannot be made there
 */
export async function openTemporaryFolder(purpose: string): Promise<TemporaryFolder> {
  const prefix = `rollcall-${purpose}-`;
  let folder = await createFolder(prefix).catch((cause: NodeJS.ErrnoException) => {
    throw new StartupError(
      `There can be no temporary files in "${tmpdir()}" (${cause.code}). Give this user write permission and room there, or set TMPDIR to another folder.`,
      { cause },
    );
  });
  let finding: Promise<string> | undefined;
  let isRemoved = false;

  /** Systems remove what is old in such places, also the folder of a node that has long had nothing to put there. */
  async function find(): Promise<string> {
    if (await isOwn(folder.path, folder.uid)) return folder.path;
    if (isRemoved) throw new Error("There are no temporary files any more.");
    // Not at the same path: there may be something that another user has put there since.
    folder = await createFolder(prefix);
    return folder.path;
  }

  return {
    use: (work) =>
      unlessDiskFull(async () => {
        finding ??= find().finally(() => (finding = undefined));
        const path = join(await finding, randomUUID());
        try {
          return await work(path);
        } finally {
          // Again, when a process that was killed has just put something there.
          await rm(path, { recursive: true, force: true, maxRetries: 3 });
        }
      }),
    async remove() {
      isRemoved = true;
      await finding?.catch(() => undefined);
      const { path, uid } = folder;
      if (await isOwn(path, uid)) await rm(path, { recursive: true, force: true });
      open.delete(path);
    },
  };
}

/** @returns its path, and who owns it: where a file system maps users, that is not the user of this process */
async function createFolder(prefix: string): Promise<{ path: string; uid: number }> {
  const parent = await realpath(tmpdir());
  await removeLeftovers(parent, prefix);
  const path = join(parent, `${prefix}${process.pid}-${randomUUID()}`);
  // Before it is there: who opens another one at the same time would take it for a leftover.
  open.add(path);
  try {
    await mkdir(path, { mode: 0o700 });
    const { uid } = await lstat(path);
    return { path, uid };
  } catch (error) {
    open.delete(path);
    throw error;
  }
}

async function removeLeftovers(parent: string, prefix: string): Promise<void> {
  const names = await readdir(parent);
  const leftovers = names
    .filter((name) => name.startsWith(prefix))
    .map((name) => ({ path: join(parent, name), pid: Number(name.slice(prefix.length).split("-")[0]) }))
    .filter(({ path, pid }) => (pid === process.pid ? !open.has(path) : !isRunning(pid)));
  for (const { path } of leftovers) {
    // One of another user stays, also if this one might: while it is removed, links in it could lead elsewhere.
    if (!(await isOwn(path, process.geteuid?.() ?? 0))) continue;
    await rm(path, { recursive: true, force: true }).catch(() => undefined);
  }
}

/** Whether there is a folder of a user: in a place for all users, what is there may be anybody's. */
async function isOwn(path: string, uid: number): Promise<boolean> {
  const stats = await lstat(path).catch(() => undefined);
  return stats !== undefined && stats.isDirectory() && stats.uid === uid;
}

function isRunning(pid: number): boolean {
  if (!Number.isSafeInteger(pid) || pid < 1) return true;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== "ESRCH";
  }
}
