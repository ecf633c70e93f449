import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";

import { newUser, RestClient, type RestResponse, type UserBody } from "./rest-client.ts";
import { waitFor } from "./wait-for.ts";

/** A write that can be told apart from every other one, also in the database. */
export interface Write {
  readonly kind: "create" | "update";
  readonly path: string;
  /** Without one, the gateway makes one for its own retries. */
  readonly idempotencyKey: string | undefined;
  readonly body: object;
  /** The address of a created user, or the nickname that an update sets; unique. */
  readonly mark: string;
}

/** One request of the load and what came of it. */
export interface LoadRecord {
  readonly kind: "create" | "update" | "read" | "list";
  readonly write?: Write;
  /** 0 when there was no response. */
  readonly status: number;
  readonly contentType: string | undefined;
  /** What the client met instead of a response, or the code of the problem document. */
  readonly problem: string | undefined;
  /** On the clock of `performance.now()`. */
  readonly startedAt: number;
  readonly endedAt: number;
}

export interface LoadOptions {
  readonly clients?: number;
  /** Pause of each client between two requests, which bounds the load. */
  readonly pauseMs?: number;
  /** A client that is told `Connection: close` ends, as it would turn to another gateway. */
  readonly endOnClose?: boolean;
}

export interface Load {
  readonly records: readonly LoadRecord[];
  /** Clients that have not ended. */
  readonly running: number;
  /** Lets the requests under way finish. */
  stop(): Promise<readonly LoadRecord[]>;
}

/** Where the load goes, and who sends it. */
export interface LoadTarget {
  readonly url: string;
  readonly token: string;
}

/** Sends creates, updates, reads and lists in equal parts, steadily, until it is stopped. */
export function startLoad({ url, token }: LoadTarget, options: LoadOptions = {}): Load {
  const { clients = 20, pauseMs = 30, endOnClose = false } = options;
  const records: LoadRecord[] = [];
  const abort = new AbortController();
  let running = clients;

  const runClient = async (): Promise<void> => {
    const client = new RestClient(url, { token, maxSockets: 1 });
    let user: UserBody | undefined;
    for (let step = 0; !abort.signal.aborted; step += 1) {
      const { record, response } = await send(client, nextRequest(step, user));
      records.push(record);
      if (record.kind === "create" && response?.status === 201) user = response.json as UserBody;
      if (endOnClose && response?.headers.connection === "close") break;
      await sleep(pauseMs);
    }
    client.close();
    running -= 1;
  };
  const all = Promise.all(Array.from({ length: clients }, runClient));

  return {
    records,
    get running() {
      return running;
    },
    stop: async () => {
      abort.abort();
      await all;
      return records;
    },
  };
}

/** Waits until the load has had so many more answers. */
export async function untilMoreRequests(load: Load, count: number): Promise<void> {
  const target = load.records.length + count;
  await waitFor(() => load.records.length >= target, {
    description: `${count} more requests`,
    timeoutMs: 60_000,
  });
}

/** Requests without an answer, and those with an answer that is an error. */
export function failuresOf(records: readonly LoadRecord[]): LoadRecord[] {
  return records.filter(({ status }) => status === 0 || status >= 400);
}

/** Whether a failure says, as a problem document, that something is away for now. */
export function isUnavailable({ status, contentType }: LoadRecord): boolean {
  return (status === 503 || status === 504) && contentType === "application/problem+json";
}

/** Sends a write, for the first time or once more with the same key. */
export function sendWrite(
  client: RestClient,
  { kind, path, body, idempotencyKey }: Write,
): Promise<RestResponse> {
  const headers = idempotencyKey === undefined ? {} : { "idempotency-key": idempotencyKey };
  return client.request(kind === "create" ? "POST" : "PATCH", path, { body, headers });
}

interface LoadRequest {
  readonly kind: LoadRecord["kind"];
  readonly path: string;
  readonly write?: Write;
}

function nextRequest(step: number, user: UserBody | undefined): LoadRequest {
  const path = "/api/v1/users";
  if (user === undefined || step % 4 === 0) {
    const body = newUser();
    const write: Write = { kind: "create", path, idempotencyKey: randomUUID(), body, mark: body.email };
    return { kind: "create", path, write };
  }
  const own = `${path}/${user.id}`;
  if (step % 4 === 1) {
    const mark = randomUUID();
    const idempotencyKey = step % 8 === 1 ? randomUUID() : undefined;
    const write: Write = { kind: "update", path: own, idempotencyKey, body: { nickname: mark }, mark };
    return { kind: "update", path: own, write };
  }
  return step % 4 === 2 ? { kind: "read", path: own } : { kind: "list", path: `${path}?limit=5` };
}

async function send(
  client: RestClient,
  { kind, path, write }: LoadRequest,
): Promise<{ record: LoadRecord; response?: RestResponse }> {
  const startedAt = performance.now();
  const base = { kind, ...(write && { write }), startedAt };
  try {
    const response = write ? await sendWrite(client, write) : await client.get(path);
    const isSuccess = response.status < 400;
    const { status, headers } = response;
    const problem = isSuccess ? undefined : codeOf(response);
    const record = {
      ...base,
      status,
      contentType: headers["content-type"],
      problem,
      endedAt: performance.now(),
    };
    return { record, response };
  } catch (error) {
    const problem = String((error as NodeJS.ErrnoException).code ?? error);
    return { record: { ...base, status: 0, contentType: undefined, problem, endedAt: performance.now() } };
  }
}

function codeOf(response: RestResponse): string {
  try {
    return (response.json as { code: string }).code;
  } catch {
    return "no problem document";
  }
}
