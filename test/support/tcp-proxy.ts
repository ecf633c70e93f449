import { once } from "node:events";
import { createConnection, createServer, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";

import { freePort } from "./ports.ts";

/** Stands in front of a server, for faults that a server cannot be made to have at an exact moment. */
export interface TcpProxy {
  /** The URL of the server, by way of the proxy. */
  readonly url: string;
  /** The next time the server sends `text`, the connection breaks instead. Settles when that has happened. */
  loseAnswer(text: string): Promise<void>;
  /** From now on, what the server sends arrives so much later, in ms; what is under way stays in order. */
  delayAnswers(delayMs: () => number): void;
  /**
   * From now on nothing passes, and no connection ends, as if the other host had vanished. Those that are made until
   * {@link mend} are silent too.
   */
  silence(): void;
  /** Breaks all connections and takes no new ones, as if the server had been killed. */
  cut(): Promise<void>;
  /** Takes connections again, through which everything passes. */
  mend(): Promise<void>;
  stop(): Promise<void>;
}

interface Loss {
  readonly text: string;
  readonly done: () => void;
}

/** @param serverUrl with a host and a port */
export async function startTcpProxy(serverUrl: string): Promise<TcpProxy> {
  const { hostname, port } = new URL(serverUrl);
  const sockets = new Set<Socket>();
  let loss: Loss | undefined;
  let delayMs = (): number => 0;
  let isSilent = false;

  const server = createServer((client) => {
    const upstream = createConnection({ host: hostname, port: Number(port) });
    const breakBoth = (): void => {
      client.destroy();
      upstream.destroy();
    };
    for (const socket of [client, upstream]) {
      // Else what comes in several pieces is held back until the other side confirms the first, 40 ms later.
      socket.setNoDelay();
      sockets.add(socket);
      // What is wrong with one side, the other learns by its end.
      socket.on("error", breakBoth).on("close", breakBoth);
      socket.once("close", () => sockets.delete(socket));
    }
    client.on("data", (bytes: Buffer) => upstream.write(bytes));
    const answer = inOrder((bytes) => void client.write(bytes));
    upstream.on("data", (bytes: Buffer) => {
      if (!loss || !bytes.includes(loss.text)) {
        answer(bytes, delayMs());
        return;
      }
      breakBoth();
      loss.done();
      loss = undefined;
    });
    if (isSilent) for (const socket of [client, upstream]) socket.pause();
  });

  // Not one that the system chooses: while it is cut, an outgoing connection could be given that.
  const ownPort = await freePort();
  const listen = async (): Promise<void> => {
    isSilent = false;
    if (server.listening) return;
    server.listen(ownPort, "127.0.0.1");
    await once(server, "listening");
  };
  const cut = async (): Promise<void> => {
    if (!server.listening) return;
    const closed = once(server, "close");
    server.close();
    for (const socket of sockets) socket.destroy();
    await closed;
  };
  await listen();
  return {
    url: Object.assign(new URL(serverUrl), { port: ownPort }).href,
    loseAnswer: (text) => new Promise((resolve) => (loss = { text, done: resolve })),
    delayAnswers: (delay) => (delayMs = delay),
    silence: () => {
      isSilent = true;
      for (const socket of sockets) socket.pause();
    },
    cut,
    mend: listen,
    stop: cut,
  };
}

/** Calls `write` after a delay, but never before an earlier call. */
function inOrder(write: (bytes: Buffer) => void): (bytes: Buffer, delayMs: number) => void {
  let earlier = Promise.resolve();
  const writeAfter = async (before: Promise<void>, bytes: Buffer, dueAt: number): Promise<void> => {
    await before;
    const early = dueAt - performance.now();
    if (early > 0) await sleep(early, undefined, { ref: false });
    write(bytes);
  };
  return (bytes, delayMs) => {
    earlier = writeAfter(earlier, bytes, performance.now() + delayMs);
  };
}
