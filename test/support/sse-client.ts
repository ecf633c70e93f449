import { once } from "node:events";
import { get, type IncomingHttpHeaders, type IncomingMessage } from "node:http";

import { createParser } from "eventsource-parser";

import { waitFor } from "./wait-for.ts";

/** A server-sent event as a client gets it. */
export interface SseMessage {
  readonly id: string | undefined;
  readonly event: string | undefined;
  readonly data: string;
}

/** How a stream came to its end: the server said so, or the connection broke. */
export type SseEnd = "ended" | "cut";

/** An open stream. */
export interface SseClient {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  /** Everything that came. */
  readonly text: string;
  readonly messages: readonly SseMessage[];
  /** Sequence numbers of the messages. */
  readonly sequences: readonly number[];
  /** Where a client goes on that is cut off now: the id of the last block that came whole. */
  readonly lastEventId: string;
  readonly ended: Promise<SseEnd>;
  /** Waits until so many messages have come. */
  untilReceived(count: number): Promise<void>;
  /** Reads nothing any more, so that the server cannot write. */
  pause(): void;
  resume(): void;
  /** Breaks the connection, if it is open. */
  cut: () => void;
}

export interface SseOptions {
  readonly headers?: Readonly<Record<string, string>>;
  /** Breaks the connection after so many bytes of the body, wherever in a message that is. */
  readonly cutAfterBytes?: number;
}

/** Opens a stream on a connection of its own and waits for the head of the answer. */
export async function openSse(
  url: string,
  { headers = {}, cutAfterBytes = Infinity }: SseOptions = {},
): Promise<SseClient> {
  const request = get(url, { agent: false, headers: { accept: "text/event-stream", ...headers } });
  // Of a connection that is broken while it is read, here or there.
  request.on("error", () => undefined);
  const [response] = (await once(request, "response")) as [IncomingMessage];
  const messages: SseMessage[] = [];
  const parser = createParser({
    onEvent: ({ id, event, data }) => messages.push({ id, event, data }),
  });
  let text = "";
  let bytes = 0;
  const cut = (): void => void response.socket.destroy();
  response.setEncoding("latin1").on("data", (chunk: string) => {
    if (bytes >= cutAfterBytes) return;
    const part = Buffer.from(chunk.slice(0, cutAfterBytes - bytes), "latin1");
    bytes += part.length;
    text += part.toString("utf8");
    parser.feed(part.toString("utf8"));
    if (bytes >= cutAfterBytes) cut();
  });
  response.on("error", () => undefined);
  const ended = new Promise<SseEnd>((resolve) => {
    response.once("close", () => resolve(response.complete ? "ended" : "cut"));
  });

  return {
    status: response.statusCode ?? 0,
    headers: response.headers,
    messages,
    ended,
    cut,
    pause: () => void response.pause(),
    resume: () => void response.resume(),
    get text() {
      return text;
    },
    get sequences() {
      return messages.map(({ id }) => Number(id));
    },
    get lastEventId() {
      const whole = text.slice(0, text.lastIndexOf("\n\n") + 2);
      return [...whole.matchAll(/^id: (\d+)$/gm)].at(-1)?.[1] ?? "";
    },
    untilReceived: (count) =>
      waitFor(() => messages.length >= count, { description: `${count} events to come` }).then(
        () => undefined,
      ),
  };
}
