/**
 * Asks for files as fast as they come, in a process of its own: the harness forks it, sends a `FileLoad` and gets a
 * `FileLoadResult`. Unlike autocannon it makes no text of what it gets and reads headers no further than it must:
 * autocannon takes several times the processor of the servers for that, and would be what is measured.
 */
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { setTimeout as delay } from "node:timers/promises";

/** What to ask for, whom and for how long. */
export interface FileLoad {
  baseUrl: string;
  /** Each request takes one of them at random. */
  paths: string[];
  /** A header line of every request; none when it is empty. */
  header: string;
  expected: { status: number; bytes: number };
  connections: number;
  seconds: number;
}

export interface FileLoadResult {
  requestsPerSecond: number;
  completed: number;
}

const EMPTY = Buffer.alloc(0);
const END_OF_HEADERS = "\r\n\r\n";
/** Where the status is in `HTTP/1.1 200 OK`. */
const STATUS = { start: 9, end: 12 } as const;
const CONTENT_LENGTH = /\r\ncontent-length: (\d+)/i;

process.once("message", (load: FileLoad) => {
  void run(load).then((result) => process.send?.(result, () => process.disconnect()));
});

/** @throws {Error} when anything is answered that is not expected: the figures would mean nothing */
async function run(load: FileLoad): Promise<FileLoadResult> {
  const { hostname, port } = new URL(load.baseUrl);
  const sockets = Array.from({ length: load.connections }, () => connect(Number(port), hostname));
  await Promise.all(sockets.map((socket) => once(socket, "connect")));
  let completed = 0;
  const startedAt = performance.now();
  for (const socket of sockets) ask(socket, load, () => (completed += 1));
  await delay(load.seconds * 1000);
  const seconds = (performance.now() - startedAt) / 1000;
  for (const socket of sockets) socket.destroy();
  return { requestsPerSecond: completed / seconds, completed };
}

/** Sends a request whenever the one before is answered. What is not expected ends the process. */
function ask(socket: Socket, { paths, header, expected, baseUrl }: FileLoad, onAnswer: () => void): void {
  const ending = ` HTTP/1.1\r\nHost: ${new URL(baseUrl).host}\r\n${header && `${header}\r\n`}\r\n`;
  const send = (): void => {
    socket.write(`GET ${paths[Math.floor(Math.random() * paths.length)]}${ending}`, "latin1");
  };
  let head: Buffer = EMPTY;
  /** Bytes of the body that are still to come; undefined until the headers are there. */
  let missing: number | undefined;
  socket.on("data", (chunk: Buffer) => {
    if (missing === undefined) {
      head = head.length === 0 ? chunk : Buffer.concat([head, chunk]);
      const end = head.indexOf(END_OF_HEADERS);
      if (end === -1) return;
      requireExpected(head.toString("latin1", 0, end), expected);
      missing = expected.bytes - (head.length - end - END_OF_HEADERS.length);
      head = EMPTY;
    } else {
      missing -= chunk.length;
    }
    if (missing > 0) return;
    if (missing < 0) throw new Error(`${-missing} bytes came that were not announced`);
    missing = undefined;
    onAnswer();
    send();
  });
  socket.on("end", () => {
    throw new Error("the server has closed a connection");
  });
  send();
}

function requireExpected(head: string, { status, bytes }: FileLoad["expected"]): void {
  const length = Number(CONTENT_LENGTH.exec(head)?.[1] ?? 0);
  if (Number(head.slice(STATUS.start, STATUS.end)) !== status || length !== bytes)
    throw new Error(`expected ${status} with ${bytes} bytes, not ${head}`);
}
