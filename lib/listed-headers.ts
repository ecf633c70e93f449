import {
  ServerResponse,
  validateHeaderName,
  validateHeaderValue,
  type IncomingMessage,
  type OutgoingHttpHeader,
  type OutgoingHttpHeaders,
} from "node:http";

type Value = number | string | readonly string[];

declare module "node:http" {
  interface ServerResponse {
    /** Of Node, not documented: makes the head of the message out of its first line and its headers. */
    _storeHeader(firstLine: string, headers: OutgoingHttpHeader[]): void;
  }
}

// What is beyond these, Node is asked about, whose checks cost more.
const PLAIN_NAME = /^[A-Za-z-]+$/;
const PLAIN_VALUE = /^[\x20-\x7e]*$/;

/** Headers that Node acts on, or writes in its own way. All others are mere text to it. */
const ACTED_ON_BY_NODE = new Set([
  "connection",
  "content-disposition",
  "content-length",
  "date",
  "expect",
  "keep-alive",
  "trailer",
  "transfer-encoding",
]);

/** Headers that many answers share: they are checked and written once, instead of for each answer. */
export class FixedHeaders {
  readonly entries: ReadonlyMap<string, string>;
  /** In lower case. */
  readonly names: ReadonlySet<string>;
  readonly text: string;

  /** @param entries none that Node acts on, such as `Content-Length` */
  constructor(entries: ReadonlyMap<string, string>) {
    let text = "";
    for (const [name, value] of entries) {
      validateHeaderName(name);
      validateHeaderValue(name, value);
      text += linesOf(name, value);
    }
    this.entries = entries;
    this.names = new Set([...entries.keys()].map((name) => name.toLowerCase()));
    this.text = text;
  }
}

/**
 * A response that keeps its headers in a list and writes them itself. Node's own keeps them in a dictionary, makes a list
 * of that, and checks and looks at each header again.
 */
export class ListedHeadersResponse<
  Request extends IncomingMessage = IncomingMessage,
> extends ServerResponse<Request> {
  /** In lower case. */
  readonly #names: string[] = [];
  /** Names as they were given, each with its value behind it. */
  readonly #headers: Value[] = [];
  /** Before all others, as long as nobody wants to see or change one of them. */
  #fixed: FixedHeaders | undefined;

  /** Sets all of them, on a response that has none yet. */
  setFixedHeaders(fixed: FixedHeaders): void {
    this.#fixed = fixed;
  }

  override setHeader(name: string, value: Value): this {
    if (this.headersSent) return super.setHeader(name, value);
    // Here, and not only when they are sent: whoever sets it can still answer something else.
    if (!PLAIN_NAME.test(name)) validateHeaderName(name);
    if (typeof value !== "string" || !PLAIN_VALUE.test(value)) validateHeaderValue(name, value as string);
    const index = this.#indexOf(name);
    if (index === -1) {
      this.#names.push(name.toLowerCase());
      this.#headers.push(name, value);
    } else {
      this.#headers[2 * index] = name;
      this.#headers[2 * index + 1] = value;
    }
    return this;
  }

  override appendHeader(name: string, value: string | readonly string[]): this {
    const index = this.#indexOf(name);
    if (index === -1) return this.setHeader(name, value);
    const [spelling, known = []] = this.#headers.slice(2 * index);
    return this.setHeader(String(spelling), [known, value].flat().map(String));
  }

  override getHeader(name: string): number | string | string[] | undefined {
    const index = this.#indexOf(name);
    return index === -1 ? undefined : (this.#headers[2 * index + 1] as number | string | string[]);
  }

  override hasHeader(name: string): boolean {
    return this.#indexOf(name) !== -1;
  }

  override removeHeader(name: string): void {
    if (this.headersSent) super.removeHeader(name);
    const index = this.#indexOf(name);
    if (index === -1) return;
    this.#names.splice(index, 1);
    this.#headers.splice(2 * index, 2);
  }

  override getHeaderNames(): string[] {
    this.#listFixed();
    return [...this.#names];
  }

  override getHeaders(): OutgoingHttpHeaders {
    return Object.fromEntries(this.getHeaderNames().map((name) => [name, this.getHeader(name)]));
  }

  /** @param given the reason phrase, further headers, or both in this order */
  override writeHead(
    status: number,
    ...given: (string | OutgoingHttpHeaders | OutgoingHttpHeader[] | undefined)[]
  ): this {
    const reason = given.find((one) => typeof one === "string");
    const further = given.find((one) => typeof one === "object");
    if (further) {
      for (const [name, value] of pairsOf(further)) if (value !== undefined) this.setHeader(name, value);
    }
    return reason === undefined ? super.writeHead(status) : super.writeHead(status, reason);
  }

  /** Gives Node what it acts on, behind what has been written already. */
  override _storeHeader(firstLine: string): void {
    let text = firstLine + (this.#fixed?.text ?? "");
    const actedOn: OutgoingHttpHeader[] = [];
    for (let index = 0; index < this.#names.length; index += 1) {
      const name = this.#headers[2 * index] as string;
      const value = this.#headers[2 * index + 1] as OutgoingHttpHeader;
      if (ACTED_ON_BY_NODE.has(this.#names[index] as string)) actedOn.push(name, value);
      else text += linesOf(name, value);
    }
    // oxlint-disable-next-line no-underscore-dangle -- the name is Node's
    super._storeHeader(text, actedOn);
  }

  #indexOf(name: string): number {
    const key = name.toLowerCase();
    if (this.#fixed?.names.has(key)) this.#listFixed();
    return this.#names.indexOf(key);
  }

  /** Makes the fixed headers ones like all others. */
  #listFixed(): void {
    const fixed = this.#fixed;
    if (!fixed) return;
    this.#fixed = undefined;
    this.#names.unshift(...fixed.names);
    this.#headers.unshift(...[...fixed.entries].flat());
  }
}

/** As they are sent; one line for each value. */
function linesOf(name: string, value: Value): string {
  if (typeof value !== "object") return `${name}: ${value}\r\n`;
  return value.map((one) => `${name}: ${one}\r\n`).join("");
}

/** In an array, each value is behind its name. */
function pairsOf(
  headers: OutgoingHttpHeaders | OutgoingHttpHeader[],
): [name: string, value: Value | undefined][] {
  if (!Array.isArray(headers)) return Object.entries(headers);
  const names = headers.filter((_, index) => index % 2 === 0);
  return names.map((name, index) => [String(name), headers[2 * index + 1]]);
}
