import { once } from "node:events";
import { get, type IncomingMessage } from "node:http";

import { RestClient } from "./rest-client.ts";
import { openSse } from "./sse-client.ts";
import { waitFor } from "./wait-for.ts";

/** Waits until a gateway, which may have started just now, knows a node that has what is at this path. */
export async function untilServing(
  { url }: { url: string },
  path: string,
  headers: Readonly<Record<string, string>>,
): Promise<void> {
  const client = new RestClient(url);
  try {
    await waitFor(async () => (await client.get(path, headers)).status === 200, {
      description: "the gateway to know the other nodes",
    });
  } finally {
    client.close();
  }
}

/** The end of the log, once the events of all requests that are answered are in it. */
export async function endOfLog(client: RestClient): Promise<number> {
  const { id } = await client.createUser();
  const page = await client.get(`/api/v1/events?subject=${id}&wait=30`);
  if (page.status !== 200) throw new Error(`The log cannot be read: ${page.text}`);
  return (page.json as { nextAfter: number }).nextAfter;
}

/** By then a reader is cut off, however little has come; twice as late after each turn in which nothing came at all. */
const MAX_TURN_MS = 200;
const LONGEST_TURN_MS = 5000;

/** A reader of the event log that is cut off at random, each time by another gateway, and goes on where it was. */
abstract class CutReader {
  /** What it has seen, in order. */
  readonly sequences: number[] = [];
  /** How often it was cut off. */
  cuts = 0;
  protected readonly path: string;
  protected readonly credentials: Readonly<Record<string, string>>;
  protected position: number;
  protected isStopped = false;
  #maxTurnMs = MAX_TURN_MS;
  readonly #gateways: readonly string[];

  constructor(
    gateways: readonly string[],
    path: string,
    credentials: Readonly<Record<string, string>>,
    after: number,
  ) {
    this.#gateways = gateways;
    this.path = path;
    this.credentials = credentials;
    this.position = after;
  }

  /** Reads until it is stopped. */
  async run(): Promise<void> {
    for (let turn = 0; !this.isStopped; turn += 1) {
      const before = this.sequences.length;
      await this.readUntilCut(
        this.#gateways[turn % this.#gateways.length] ?? "",
        Math.random() * this.#maxTurnMs,
      );
      const hasMore = this.sequences.length > before;
      this.#maxTurnMs = hasMore ? MAX_TURN_MS : Math.min(2 * this.#maxTurnMs, LONGEST_TURN_MS);
    }
  }

  untilSeen(sequence: number): Promise<unknown> {
    return waitFor(() => (this.sequences.at(-1) ?? 0) >= sequence, {
      description: `event ${sequence} to be seen`,
      timeoutMs: 60_000,
    });
  }

  stop(): void {
    this.isStopped = true;
  }

  protected abstract readUntilCut(gateway: string, cutAfterMs: number): Promise<void>;
}

/** Reads the stream, and is cut off in the middle of messages. */
export class SseReader extends CutReader {
  protected override async readUntilCut(gateway: string, cutAfterMs: number): Promise<void> {
    const stream = await openSse(`${gateway}${this.path}`, {
      headers: { ...this.credentials, "last-event-id": String(this.position) },
      cutAfterBytes: Math.round(Math.random() * 20_000),
    });
    const timer = setTimeout(stream.cut, cutAfterMs);
    await stream.ended;
    clearTimeout(timer);
    this.sequences.push(...stream.sequences);
    this.position = Number(stream.lastEventId || this.position);
    this.cuts += 1;
  }
}

/** Reads the feed with requests that wait, some of which are broken before or within their answer. */
export class FeedReader extends CutReader {
  protected override async readUntilCut(gateway: string, cutAfterMs: number): Promise<void> {
    const url = `${gateway}${this.path}?after=${this.position}&limit=25&wait=2`;
    const text = await getUntilCut(url, this.credentials, cutAfterMs);
    if (text === undefined) {
      this.cuts += 1;
      return;
    }
    const { data, nextAfter } = JSON.parse(text) as { data: { sequence: string }[]; nextAfter: number };
    this.sequences.push(...data.map(({ sequence }) => Number(sequence)));
    this.position = nextAfter;
  }
}

/** The body of an answer; undefined when the connection was broken before all of it had come. */
async function getUntilCut(
  url: string,
  headers: Readonly<Record<string, string>>,
  cutAfterMs: number,
): Promise<string | undefined> {
  const request = get(url, { agent: false, headers });
  const timer = setTimeout(() => request.destroy(), cutAfterMs);
  try {
    const [response] = (await once(request, "response")) as [IncomingMessage];
    const chunks = await Array.fromAsync(response as AsyncIterable<Buffer>);
    return Buffer.concat(chunks).toString("utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ECONNRESET") return undefined;
    throw error;
  } finally {
    clearTimeout(timer);
  }
}
