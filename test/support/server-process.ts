import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { createConnection } from "node:net";

import { freezeTree, processTree, signalAll } from "./processes.ts";
import { testRunDir } from "./test-run.ts";
import { waitFor } from "./wait-for.ts";

/** The faults that a test can cause in a private server. */
export interface Faults {
  /** Ends it at once, as a crash would. */
  kill(): Promise<void>;
  /** Stops it from running while its connections stay open, as an overloaded machine would. */
  freeze(): void;
  thaw(): void;
  /** Starts it again on the same port with the same data; stops it first if it runs. */
  restart(): Promise<void>;
}

export interface TestServer extends Faults {
  readonly url: string;
  readonly port: number;
  stop(): Promise<void>;
}

export interface ServerCommand {
  readonly command: string;
  readonly args: readonly string[];
  readonly url: string;
  readonly port: number;
  /** Written to a new connection, for servers that do not speak first. */
  readonly greeting: string;
  /** What the server's first words start with once it serves. */
  readonly expected: string;
}

/** How long one attempt to talk to a starting server may take. */
const GREETING_TIMEOUT_MS = 5_000;

interface Running {
  readonly child: ChildProcess;
  readonly pid: number;
}

/** Starts a server that is one process and listens on one port, and waits until it serves. */
export async function startServerProcess(server: ServerCommand): Promise<TestServer> {
  let running = await launch(server);

  const end = async (signal: NodeJS.Signals): Promise<void> => {
    const { child, pid } = running;
    if (child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, "exit");
    const pids = processTree(pid);
    signalAll(pids, signal);
    // One that is frozen would not see the signal otherwise.
    signalAll(pids, "SIGCONT");
    await exited;
  };

  return {
    url: server.url,
    port: server.port,
    stop: () => end("SIGTERM"),
    kill: () => end("SIGKILL"),
    freeze: () => freezeTree(running.pid),
    thaw: () => signalAll(processTree(running.pid), "SIGCONT"),
    restart: async () => {
      await end("SIGTERM");
      running = await launch(server);
    },
  };
}

async function launch(server: ServerCommand): Promise<Running> {
  testRunDir();
  const child = spawn(server.command, server.args, {
    detached: true,
    stdio: ["ignore", "pipe", "pipe"],
    // Debian puts servers where an ordinary user's PATH does not look.
    env: { ...process.env, PATH: `${process.env.PATH}:/usr/local/sbin:/usr/sbin:/sbin` },
  });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text: string) => (output = (output + text).slice(-2_000)));
  }
  let failure: Error | undefined;
  child.on("error", (cause) => {
    failure = new Error(
      `${server.command} could not be run. scripts/install-system-packages.sh installs it.`,
      { cause },
    );
  });
  child.on("exit", (code) => (failure ??= new Error(`${server.command} ended with code ${code}: ${output}`)));

  await waitFor(async () => failure !== undefined || (await speaks(server)), {
    description: `${server.command} to serve on port ${server.port}`,
  });
  if (failure) throw failure;
  if (child.pid === undefined) throw new Error(`${server.command} has no process id`);
  return { child, pid: child.pid };
}

/** Whether the server answers a greeting as a healthy one does. */
async function speaks({ port, greeting, expected }: ServerCommand): Promise<boolean> {
  const signal = AbortSignal.timeout(GREETING_TIMEOUT_MS);
  const socket = createConnection({ port, host: "127.0.0.1" });
  try {
    await once(socket, "connect", { signal });
    socket.write(greeting);
    const [answer] = (await once(socket, "data", { signal })) as [Buffer];
    return answer.toString("latin1").startsWith(expected);
  } finally {
    socket.destroy();
  }
}
