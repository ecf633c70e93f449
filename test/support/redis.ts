import { freePort } from "./ports.ts";
import { startServerProcess, type TestServer } from "./server-process.ts";
import { temporaryDir } from "./test-run.ts";

/** A private Redis server on a free loopback port. It keeps nothing on disk: after `restart()` it is empty. */
export async function startRedis(): Promise<TestServer> {
  const port = await freePort();
  const nothingOnDisk = ["--save", "", "--appendonly", "no", "--dir", temporaryDir("redis")];
  return startServerProcess({
    command: "redis-server",
    args: ["--bind", "127.0.0.1", "--port", String(port), ...nothingOnDisk],
    url: `redis://127.0.0.1:${port}`,
    port,
    greeting: "PING\r\n",
    expected: "+PONG",
  });
}
