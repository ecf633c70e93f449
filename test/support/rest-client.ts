import { once } from "node:events";
import { Agent, request as openRequest, type IncomingHttpHeaders, type IncomingMessage } from "node:http";

/** A response as it came over the wire. */
export interface RestResponse {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly bytes: Buffer;
  readonly text: string;
  /** The parsed body. Throws when it is not JSON. */
  readonly json: unknown;
}

export interface RestRequest {
  readonly headers?: Readonly<Record<string, string | string[]>>;
  /** An object is sent as JSON; text and bytes as they are. */
  readonly body?: object | string | Buffer;
}

/** The members of a user that tests look at. */
export interface UserBody {
  readonly id: string;
  readonly email: string;
  readonly firstName: string;
  readonly lastName: string;
  readonly nickname: string | null;
  readonly version: number;
}

export interface RestClientOptions {
  /** Access token or API key that every request is sent with, unless it brings credentials of its own. */
  readonly token?: string | undefined;
  readonly maxSockets?: number;
}

/** An HTTP client of one gateway, which adds to a request only its token, and follows no redirects. */
export class RestClient {
  readonly url: string;
  readonly token: string | undefined;
  readonly #agent: Agent;

  constructor(url: string, { token, maxSockets = 50 }: RestClientOptions = {}) {
    this.url = url;
    this.#agent = new Agent({ keepAlive: true, maxSockets });
    this.token = token;
  }

  async request(
    method: string,
    path: string,
    { headers = {}, body }: RestRequest = {},
  ): Promise<RestResponse> {
    const isObject = typeof body === "object" && !Buffer.isBuffer(body);
    const bytes = isObject ? JSON.stringify(body) : body;
    const isChunked = "transfer-encoding" in headers;
    const outgoing = openRequest(new URL(this.url), {
      agent: this.#agent,
      method,
      path,
      headers: {
        ...(this.token !== undefined && { authorization: `Bearer ${this.token}` }),
        ...(isObject && { "content-type": "application/json" }),
        ...(bytes !== undefined && !isChunked && { "content-length": Buffer.byteLength(bytes) }),
        ...headers,
      },
    });
    outgoing.end(bytes);
    const [response] = (await once(outgoing, "response")) as [IncomingMessage];
    return toResponse(response, Buffer.concat(await Array.fromAsync(response as AsyncIterable<Buffer>)));
  }

  get(path: string, headers: RestRequest["headers"] = {}): Promise<RestResponse> {
    return this.request("GET", path, { headers });
  }

  post(path: string, body: RestRequest["body"], headers: RestRequest["headers"] = {}): Promise<RestResponse> {
    return this.request("POST", path, { headers, ...(body !== undefined && { body }) });
  }

  patch(
    path: string,
    body: RestRequest["body"],
    headers: RestRequest["headers"] = {},
  ): Promise<RestResponse> {
    return this.request("PATCH", path, { headers, ...(body !== undefined && { body }) });
  }

  /** @throws {Error} when the user was not created. */
  async createUser(fields: object = {}): Promise<UserBody> {
    const response = await this.post("/api/v1/users", newUser(fields));
    if (response.status !== 201) throw new Error(`The user was not created: ${response.text}`);
    return response.json as UserBody;
  }

  /** Closes all connections. */
  close(): void {
    this.#agent.destroy();
  }
}

let counter = 0;

/** The body of a valid create, with an address that no other one has. */
export function newUser(fields: object = {}): { email: string; firstName: string; lastName: string } {
  counter += 1;
  const email = `user-${process.pid}-${Date.now()}-${counter}@example.com`;
  return { email, firstName: "Ada", lastName: "Lovelace", ...fields };
}

function toResponse({ statusCode, headers }: IncomingMessage, bytes: Buffer): RestResponse {
  return {
    status: statusCode ?? 0,
    headers,
    bytes,
    text: bytes.toString("utf8"),
    get json() {
      return JSON.parse(this.text) as unknown;
    },
  };
}
