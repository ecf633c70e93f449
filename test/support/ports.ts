import { randomInt } from "node:crypto";
import { once } from "node:events";
import { closeSync, mkdirSync, openSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";

import { testRunDir } from "./test-run.ts";

/**
 * Below the ports that kernels give to outgoing connections: of those, a client that connects again and again while its
 * server is away takes the port of the server before it is back, or even gets connected to itself.
 */
const FIRST_PORT = 20_000;
const PORTS = 12_000;

/** A TCP port of 127.0.0.1 that nobody listens on, and that nobody else in this run is given. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = FIRST_PORT + randomInt(PORTS);
    if (isTaken(port) || !(await canBeListenedOn(port))) continue;
    return port;
  }
}

/** Takes a port for good; the processes of a run share a folder with a file for each. */
function isTaken(port: number): boolean {
  const folder = join(testRunDir(), "ports");
  mkdirSync(folder, { recursive: true });
  try {
    closeSync(openSync(join(folder, String(port)), "wx"));
    return false;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
    return true;
  }
}

async function canBeListenedOn(port: number): Promise<boolean> {
  const server = createServer().listen(port, "127.0.0.1");
  try {
    await once(server, "listening");
  } catch {
    return false;
  }
  server.close();
  await once(server, "close");
  return true;
}
