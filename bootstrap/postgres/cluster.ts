import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { constants } from "node:fs";
import { access, mkdir, open, readFile, realpath, rename, rm, stat, writeFile } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { promisify } from "node:util";

import { makeFolder } from "../../lib/make-folder.ts";
import { StartupError } from "../../lib/startup-error.ts";
import { prefixed, type PostgresPrograms } from "./programs.ts";
import { chooseRunAs, type RunAs } from "./run-as.ts";

const run = promisify(execFile);

/** PostgreSQL's word for a folder with the data of one server is a cluster. */
export interface Cluster {
  readonly dir: string;
  readonly runAs: RunAs;
  readonly isNew: boolean;
}

/** Passwords of the two roles. */
export interface Credentials {
  /** `postgres`, the superuser: makes the database, and nothing else. */
  readonly superuser: string;
  /** `rollcall`, the owner of the database, which the services use. */
  readonly application: string;
}

/**
 * Makes the folder if it is missing.
 *
 * @returns its absolute path without symbolic links
 * @throws {StartupError} when Rollcall cannot write there.
 */
export async function openDataDir(dataDir: string): Promise<string> {
  try {
    await makeFolder(dataDir, 0o700);
    await access(dataDir, constants.R_OK | constants.W_OK | constants.X_OK);
    return await realpath(dataDir);
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    throw new StartupError(
      `DATA_DIR "${resolve(dataDir)}" is not a folder that Rollcall can write to (${code}). ` +
        "Give this user write permission there, or set DATA_DIR to another folder.",
      { cause },
    );
  }
}

/**
 * Opens the cluster of a data folder, or makes one. The caller holds the lock of the folder.
 *
 * @param durable false leaves out flushing to disk, for tests
 * @throws {StartupError} when the data is of another major version or another user, or cannot be made.
 */
export async function openCluster(
  programs: PostgresPrograms,
  dataDir: string,
  durable: boolean,
): Promise<Cluster> {
  const dir = join(dataDir, "postgres");
  const version = await readFile(join(dir, "PG_VERSION"), "utf8").catch(ignoreMissing);
  if (version === undefined) return createCluster(programs, dir, durable);

  const { uid } = await stat(dir);
  const ownUid = process.getuid?.() ?? uid;
  if (uid !== ownUid && ownUid !== 0) {
    throw new StartupError(
      `"${dir}" belongs to the user with the id ${uid}, but Rollcall runs with the id ${ownUid}. ` +
        "Start Rollcall as that user, or give the folder DATA_DIR and all in it to this one (chown -R).",
    );
  }
  const runAs = await chooseRunAs(programs.postgres, dir);
  if (version.trim() !== runAs.majorVersion) {
    throw new StartupError(
      `"${dir}" holds data of PostgreSQL ${version.trim()}, but this release of Rollcall brings PostgreSQL ` +
        `${runAs.majorVersion}. Move the data with the release that wrote it (pg_dump), or set DATA_DIR to another folder.`,
    );
  }
  return { dir, runAs, isNew: false };
}

/** Reads the passwords that `openCluster` made. */
export async function readCredentials(dataDir: string): Promise<Credentials> {
  const file = credentialsFile(dataDir);
  const text = await readFile(file, "utf8").catch(ignoreMissing);
  const [superuser, application] = text?.split("\n") ?? [];
  if (!superuser || !application) {
    throw new StartupError(
      `The passwords of the embedded PostgreSQL are missing: "${file}" should have two lines. Restore it from the ` +
        "backup of the folder DATA_DIR, or set DATA_DIR to an empty folder.",
    );
  }
  return { superuser, application };
}

/** Makes a cluster under another name and renames it, so that one that was interrupted is never taken for whole. */
async function createCluster(
  { initdb, postgres }: PostgresPrograms,
  dir: string,
  durable: boolean,
): Promise<Cluster> {
  const unfinished = `${dir}.new`;
  await rm(unfinished, { recursive: true, force: true });
  await mkdir(unfinished, { mode: 0o700 });
  const runAs = await chooseRunAs(postgres, unfinished);

  const passwords = credentialsFile(dirname(dir));
  await rm(passwords, { force: true });
  await writeFile(passwords, `${newPassword()}\n${newPassword()}\n`, { mode: 0o600, flush: true });

  const args = ["-D", unfinished, "--username=postgres", `--pwfile=${passwords}`, "--auth=scram-sha-256"];
  // PostgreSQL's own Unicode rules are the same on every host; a locale of the system may be missing or change.
  args.push("--encoding=UTF8", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C");
  if (!durable) args.push("--no-sync");
  try {
    await run(...prefixed(runAs.prefix, initdb, args));
  } catch (cause) {
    const said = (cause as { stderr?: string }).stderr?.trim() ?? String(cause);
    throw new StartupError(`The database in "${dir}" could not be made. PostgreSQL's initdb says: ${said}`, {
      cause,
    });
  }
  await rename(unfinished, dir);
  // Until the new name is on disk, a power failure would leave the name that the next start deletes.
  await syncDir(dirname(dir));
  return { dir, runAs, isNew: true };
}

async function syncDir(dir: string): Promise<void> {
  const handle = await open(dir);
  await handle.sync();
  await handle.close();
}

/** Line 1 is the superuser's password, as initdb reads the first line of the file. */
function credentialsFile(dataDir: string): string {
  return join(dataDir, "postgres.credentials");
}

function newPassword(): string {
  return randomBytes(24).toString("base64url");
}

function ignoreMissing(error: NodeJS.ErrnoException): undefined {
  if (error.code !== "ENOENT") throw error;
}
