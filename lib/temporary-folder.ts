import { randomUUID } from "node:crypto";
import { mkdir, readdir, realpath, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { StartupError } from "./startup-error.ts";

/** Those of this process that are open. */
const open = new Set<string>();

/** A folder for the temporary files of this process, which no other user may enter. */
export interface TemporaryFolder {
  readonly path: string;
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
  const path = await createFolder(`rollcall-${purpose}-`).catch((cause: NodeJS.ErrnoException) => {
    throw new StartupError(
      `There can be no temporary files in "${tmpdir()}" (${cause.code}). Give this user write permission and room there, or set TMPDIR to another folder.`,
      { cause },
    );
  });
  return {
    path,
    async remove() {
      await rm(path, { recursive: true, force: true });
      open.delete(path);
    },
  };
}

/** @returns its path */
async function createFolder(prefix: string): Promise<string> {
  const parent = await realpath(tmpdir());
  await removeLeftovers(parent, prefix);
  const path = join(parent, `${prefix}${process.pid}-${randomUUID()}`);
  // Before it is there: who opens another one at the same time would take it for a leftover.
  open.add(path);
  await mkdir(path, { mode: 0o700 });
  return path;
}

async function removeLeftovers(parent: string, prefix: string): Promise<void> {
  const names = await readdir(parent);
  const leftovers = names
    .filter((name) => name.startsWith(prefix))
    .map((name) => ({ path: join(parent, name), pid: Number(name.slice(prefix.length).split("-")[0]) }))
    .filter(({ path, pid }) => (pid === process.pid ? !open.has(path) : !isRunning(pid)));
  for (const { path } of leftovers) {
    // One of another user stays: it is for that one to remove.
    await rm(path, { recursive: true, force: true }).catch(() => undefined);
  }
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
