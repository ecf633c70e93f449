import { chown, lchown, readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";

import { StartupError } from "../../lib/startup-error.ts";
import { majorVersion } from "./programs.ts";

/** How PostgreSQL's programs are started: the words that go before them on the command line. */
export interface RunAs {
  readonly prefix: readonly string[];
  /** Major version of the programs, found while trying the prefix. */
  readonly majorVersion: string;
}

interface User {
  readonly uid: number;
  readonly gid: number;
}

interface Way {
  readonly prefix: readonly string[];
  /** Who must own the data for it. */
  readonly owner: User;
}

const ROOT: User = { uid: 0, gid: 0 };

/**
 * PostgreSQL refuses to run as root, and the checkout may lie in a folder that no other user can enter (/root). So
 * root has two ways, tried in this order:
 *
 * 1. a user namespace in which root looks like an ordinary user. The files stay root's, and every folder that root
 *    can enter works;
 * 2. where namespaces are refused (most containers): a system user that keeps one privilege of root's, to enter any
 *    folder. The data becomes that user's.
 *
 * Data that already belongs to an ordinary user is run as that user, so `sudo` once does not lock them out later.
 *
 * @param cluster folder of the data; given to the user who will run PostgreSQL
 * @throws {StartupError} when root has neither way.
 */
export async function chooseRunAs(postgres: string, cluster: string): Promise<RunAs> {
  if (process.getuid?.() !== 0) return { prefix: [], majorVersion: await majorVersion(postgres, []) };

  const { uid, gid } = await stat(cluster);
  const ways = uid === ROOT.uid ? await waysForNewData() : [asUser({ uid, gid })];
  const causes: unknown[] = [];
  for (const { prefix, owner } of ways) {
    try {
      const version = await majorVersion(postgres, prefix);
      await giveTo(cluster, owner);
      return { prefix, majorVersion: version };
    } catch (cause) {
      causes.push(cause);
    }
  }
  throw new StartupError(
    "The embedded PostgreSQL cannot run as root, and neither a user namespace (unshare) nor another user (setpriv) " +
      "could be used on this system. Start Rollcall as an ordinary user, or set DATABASE_URL.",
    { cause: new AggregateError(causes) },
  );
}

async function waysForNewData(): Promise<Way[]> {
  const user = await systemUser();
  const inNamespace = ["unshare", "--user", `--map-user=${user.uid}`, `--map-group=${user.gid}`];
  return [{ prefix: inNamespace, owner: ROOT }, asUser(user)];
}

function asUser(owner: User): Way {
  const identity = [`--reuid=${owner.uid}`, `--regid=${owner.gid}`, "--clear-groups"];
  // Without the secure bit access(2), with which initdb looks for its programs, would not regard the privilege.
  const privilege = [
    "--inh-caps=+dac_override",
    "--ambient-caps=+dac_override",
    "--securebits=+no_setuid_fixup",
  ];
  return { prefix: ["setpriv", ...identity, ...privilege], owner };
}

/** The user `postgres` of this system, else `nobody`. It has to be a known one: initdb looks up its name. */
async function systemUser(): Promise<User> {
  const lines = (await readFile("/etc/passwd", "utf8")).split("\n").map((line) => line.split(":"));
  const entry = lines.find(([name]) => name === "postgres") ?? lines.find(([name]) => name === "nobody");
  return entry ? { uid: Number(entry[2]), gid: Number(entry[3]) } : { uid: 65534, gid: 65534 };
}

/** Changes the owner of a folder and everything in it, unless it is already right. */
async function giveTo(dir: string, { uid, gid }: User): Promise<void> {
  const current = await stat(dir);
  if (current.uid === uid && current.gid === gid) return;
  const entries = await readdir(dir, { recursive: true });
  for (const entry of entries) await lchown(join(dir, entry), uid, gid);
  await chown(dir, uid, gid);
}
