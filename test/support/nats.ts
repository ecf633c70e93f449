import { freePort } from "./ports.ts";
import { startServerProcess, type TestServer } from "./server-process.ts";
import { temporaryDir } from "./test-run.ts";

export interface NatsOptions {
  /** With a store on disk that survives `restart()`. */
  readonly jetStream?: boolean;
}

export interface TestNats extends TestServer {
  /** Where JetStream keeps its messages. */
  readonly storeDir: string;
}

/** A private NATS server on a free loopback port. */
export async function startNats({ jetStream = false }: NatsOptions = {}): Promise<TestNats> {
  const port = await freePort();
  const storeDir = temporaryDir("nats");
  const store = jetStream ? ["-js", "-sd", storeDir] : [];
  const server = await startServerProcess({
    command: "nats-server",
    args: ["-a", "127.0.0.1", "-p", String(port), ...store],
    url: `nats://127.0.0.1:${port}`,
    port,
    greeting: "",
    expected: "INFO ",
  });
  return { ...server, storeDir };
}
