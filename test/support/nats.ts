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
  const storeDir = temporaryDir("nats");
  return start(await freePort(), storeDir, jetStream ? ["-js", "-sd", storeDir] : []);
}

/** Three private NATS servers that keep the streams of JetStream together. */
export async function startNatsCluster(): Promise<TestNats[]> {
  const names = ["nats-1", "nats-2", "nats-3"];
  const ports = await Promise.all(names.map(() => freePort()));
  const routes = (await Promise.all(names.map(() => freePort()))).map((port) => `nats://127.0.0.1:${port}`);
  const servers = names.map((name, index) => {
    const storeDir = temporaryDir(name);
    const inCluster = [
      "--cluster_name",
      "test",
      "--cluster",
      routes[index] ?? "",
      "--routes",
      routes.join(","),
    ];
    return start(ports[index] ?? 0, storeDir, ["-n", name, "-js", "-sd", storeDir, ...inCluster]);
  });
  return Promise.all(servers);
}

async function start(port: number, storeDir: string, options: readonly string[]): Promise<TestNats> {
  const server = await startServerProcess({
    command: "nats-server",
    args: ["-a", "127.0.0.1", "-p", String(port), ...options],
    url: `nats://127.0.0.1:${port}`,
    port,
    greeting: "",
    expected: "INFO ",
  });
  return { ...server, storeDir };
}
