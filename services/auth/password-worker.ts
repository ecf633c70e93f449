import { argon2Sync } from "node:crypto";
import { constants, getPriority, setPriority } from "node:os";
import { parentPort } from "node:worker_threads";
import type { HashParameters } from "./password-hash.ts";

/*
 * The thread that hashes passwords, one at a time. It is a thread of its own, so that it takes none of those that Node
 * reads files and resolves names with, and so that it can stand back: while all cores are busy, requests go first.
 */

/** What the thread is asked. */
export interface HashJob {
  password: string;
  salt: Uint8Array;
  parameters: HashParameters;
  hashBytes: number;
}

/**
 * Below the priority of the node. Gets about a third of what its other threads get: less, and logins fail on a machine
 * that is busy.
 */
const NICE = 5;

// On Linux this is the priority of the calling thread; elsewhere it would be that of the whole process.
if (parentPort && process.platform === "linux") {
  // From where the node is: it may not go up, also not to this, when it was started with a lower priority itself.
  setPriority(Math.min(getPriority() + NICE, constants.priority.PRIORITY_LOW));
}

parentPort?.on("message", ({ password, salt, parameters, hashBytes }: HashJob) => {
  const hash = argon2Sync("argon2id", {
    message: password,
    nonce: salt,
    memory: parameters.memoryKiB,
    passes: parameters.passes,
    parallelism: parameters.parallelism,
    tagLength: hashBytes,
  });
  parentPort?.postMessage(hash);
});
