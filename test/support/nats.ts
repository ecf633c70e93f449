import { freePort } from "./ports.ts";
import { startServerProcess, type TestServer } from "./server-process.ts";
import { temporaryDir } from "./test-run.ts";

export interface NatsOptions {
  /** With a store on disk that survives `restart()`. */
  readonly jetStream?: boolean;
}

/** A private NATS server on a free loopback port. */
export async function startNats({ jetStream = false }: NatsOptions = {}): Promise<TestServer> {
  const port = await freePort();
  const store = jetStream ? ["-js", "-sd", temporaryDir("nats")] : [];
  return startServerProcess({
    command: "nats-server",
    args: ["-a", "127.0.0.1", "-p", String(port), ...store],
    url: `nats://127.0.0.1:${port}`,
    port,
    greeting: "",
    expected: "INFO ",
  });
}
