import { once } from "node:events";
import { createConnection } from "node:net";

export interface RawResponse {
  readonly status: number;
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>;
  readonly text: string;
}

/**
 * Sends bytes that no HTTP client would send, each part in a packet of its own, and reads until the server closes.
 *
 * @throws {Error} when the server does not close the connection within `timeoutMs`.
 */
export async function sendRaw(
  url: string,
  parts: readonly (string | Buffer)[],
  timeoutMs = 30_000,
): Promise<RawResponse> {
  const { hostname, port } = new URL(url);
  const socket = createConnection({ host: hostname, port: Number(port), noDelay: true });
  const chunks: Buffer[] = [];
  socket.on("data", (chunk: Buffer) => chunks.push(chunk));
  // The server may close while we still write; what it has answered counts.
  socket.on("error", () => undefined);
  try {
    await once(socket, "connect");
    for (const part of parts) socket.write(part, "latin1");
    await once(socket, "close", { signal: AbortSignal.timeout(timeoutMs) });
  } finally {
    socket.destroy();
  }
  return parse(Buffer.concat(chunks).toString("utf8"));
}

/** Sends a part of a request and breaks the connection off. A server that does so before is no error. */
export async function sendAndAbort(url: string, bytes: string): Promise<void> {
  const { hostname, port } = new URL(url);
  const socket = createConnection({ host: hostname, port: Number(port) });
  await once(socket, "connect");
  socket.on("error", () => undefined);
  const closed = new Promise<void>((resolve) => socket.once("close", () => resolve()));
  await new Promise<void>((resolve) => socket.write(bytes, "latin1", () => resolve()));
  socket.resetAndDestroy();
  await closed;
}

function parse(text: string): RawResponse {
  const interim = "HTTP/1.1 100 Continue\r\n\r\n";
  if (text.startsWith(interim)) return parse(text.slice(interim.length));
  const end = text.indexOf("\r\n\r\n");
  const [statusLine = "", ...lines] = text.slice(0, Math.max(end, 0)).split("\r\n");
  const headers = lines.map((line) => {
    const colon = line.indexOf(":");
    return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()] as const;
  });
  return {
    status: Number(statusLine.split(" ")[1] ?? 0),
    headers: Object.fromEntries(headers),
    text: text.slice(end + 4),
  };
}
