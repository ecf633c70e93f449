import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { chown } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";

import { temporaryDir, testRunDir } from "./test-run.ts";

/** What `postgres-owner.ts` prints. */
export type OwnerReport =
  | { readonly url: string; readonly postgresPid: number; readonly uid: number }
  | { readonly startupError: string };

/** A kind of user to run Rollcall as. */
export interface TestUser {
  readonly name: "root" | "an ordinary user";
  readonly uid: number;
  /** Words before the command that run it as this user. */
  readonly prefix: readonly string[];
}

const NOBODY = 65534;
const ownUid = process.getuid?.() ?? NOBODY;

/** As `nobody`, who keeps root's privilege to read everything, because the checkout may be root's alone. */
const AS_NOBODY = ["setpriv", `--reuid=${NOBODY}`, `--regid=${NOBODY}`, "--clear-groups"].concat(
  ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"],
  // Without it access(2) would not regard the privilege.
  "--securebits=+no_setuid_fixup",
);

export const ordinaryUser: TestUser =
  ownUid === 0
    ? { name: "an ordinary user", uid: NOBODY, prefix: AS_NOBODY }
    : { name: "an ordinary user", uid: ownUid, prefix: [] };

const root: TestUser = { name: "root", uid: 0, prefix: [] };

export const isRoot = ownUid === 0;

/** Every kind of user that this machine lets us be. */
export const testUsers: readonly TestUser[] = isRoot ? [root, ordinaryUser] : [ordinaryUser];

/** A new empty folder with mode 0700 that belongs to `user`. */
export async function dirOf(user: TestUser): Promise<string> {
  const dir = temporaryDir("owned");
  if (isRoot) await chown(dir, user.uid, user.uid);
  return dir;
}

/** A child process that runs `postgres-owner.ts`. */
export interface PostgresOwner {
  readonly pid: number;
  readonly report: OwnerReport;
  /** Lets it stop its server and waits for its end. */
  stop(): Promise<void>;
  /** Kills it, which leaves its server running. */
  kill(): Promise<void>;
}

/** @param env variables over those of this process */
export async function startOwner(
  dataDir: string,
  user: TestUser,
  env: Readonly<Record<string, string>> = {},
): Promise<PostgresOwner> {
  testRunDir();
  const program = [process.execPath, join(import.meta.dirname, "postgres-owner.ts"), dataDir];
  const [command = process.execPath, ...args] = [...user.prefix, ...program];
  const child = spawn(command, args, { stdio: ["pipe", "pipe", "inherit"], env: { ...process.env, ...env } });
  const [line] = (await once(createInterface({ input: child.stdout }), "line")) as [string];
  return {
    pid: child.pid ?? 0,
    report: JSON.parse(line) as OwnerReport,
    stop: () => end(child, () => child.stdin.end()),
    kill: () => end(child, () => child.kill("SIGKILL")),
  };
}

async function end(child: ChildProcess, how: () => unknown): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, "exit");
  how();
  await ended;
}
