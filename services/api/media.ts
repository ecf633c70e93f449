import type { ServerResponse } from "node:http";
import type { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import type { Logger } from "pino";
import { appError } from "../../broker/errors.ts";
import { mediaType, parseMediaPath, type MediaFile } from "../../lib/media-path.ts";
import { createUrlSigner, type UrlSigner } from "../../lib/signed-url.ts";
import { MAX_SLOW_READS, type ByteRange } from "../../lib/storage/storage.ts";
import { rangeOf } from "./byte-range.ts";
import type { ClientReader } from "./client-address.ts";
import { knownTag } from "./entity-tag.ts";
import type { GatewayRequest } from "./gateway-request.ts";
import { ANONYMOUS } from "./guard.ts";
import { MediaFiles, type KnownFile, type MediaFilesParts } from "./media-files.ts";
import type { RateLimits } from "./rate-limits.ts";
import { pathOf, READ_METHODS, sendAllowed, sendEmpty, sendProblem } from "./respond.ts";
import { SharedPlaces } from "./shared-places.ts";

export const MEDIA_PREFIX = "/media/";
const PUBLIC_ROUTE = "/media/:hash/:file";
const PRIVATE_ROUTE = "/media/private/:hash/:file";
export const MEDIA_ROUTES = [PUBLIC_ROUTE, PRIVATE_ROUTE];

const YEAR_SECONDS = 31_536_000;

/** What a pipeline says when the other side is gone: in the middle, or before it has begun. */
const CLIENT_HAS_LEFT: ReadonlySet<unknown> = new Set([
  "ERR_STREAM_PREMATURE_CLOSE",
  "ERR_STREAM_UNABLE_TO_PIPE",
]);

/** What depends on who asks: a CDN that keeps the answer would tell it to everybody. */
const OF_ONE_CLIENT = ["Access-Control-Expose-Headers", "RateLimit", "RateLimit-Policy", "Vary"];

interface MediaParts extends MediaFilesParts {
  /** The node's SECRET, with which URLs of private images are signed. */
  secret: string;
  /** Undefined: none. */
  limits: RateLimits | undefined;
  /** Among clients, what is sent from the storage at the same time is shared. */
  clientOf: ClientReader;
  /** Files sent from the storage at the same time. Only tests have another number. */
  maxSlowReads?: number;
  log: Logger;
}

/** A file that its client may have. */
interface Wanted {
  file: MediaFile;
  /** For how long the client may keep it. */
  maxAgeSeconds: number;
}

/**
 * Serves the files of images. Behind a URL there is never another file, so clients keep them. What is there is not counted
 * by the limits of requests, as pages show many images; what has to be made is.
 */
export class Media {
  readonly #parts: MediaParts;
  readonly #files: MediaFiles;
  readonly #signer: UrlSigner;
  readonly #places: SharedPlaces;

  constructor(parts: MediaParts) {
    this.#parts = parts;
    this.#files = new MediaFiles(parts);
    this.#places = new SharedPlaces(parts.maxSlowReads ?? MAX_SLOW_READS, "TOO_MANY_DOWNLOADS");
    this.#signer = createUrlSigner(parts.secret);
  }

  /** Answers a request below {@link MEDIA_PREFIX}; never rejects. */
  async answer(request: GatewayRequest, response: ServerResponse): Promise<void> {
    request.route = request.url.startsWith("/media/private/") ? PRIVATE_ROUTE : PUBLIC_ROUTE;
    try {
      if (request.method === "GET" || request.method === "HEAD") {
        await this.#answerRead(request, response);
        return;
      }
      sendAllowed(request, response, READ_METHODS);
    } catch (error) {
      sendProblem(request, response, error, this.#parts.log);
    }
  }

  /** @throws IMAGE_NOT_FOUND, INVALID_SIGNATURE */
  #wantedBy(request: GatewayRequest): Wanted {
    const path = pathOf(request);
    const file = parseMediaPath(path);
    if (!file) throw appError("IMAGE_NOT_FOUND");
    if (file.visibility === "public") return { file, maxAgeSeconds: YEAR_SECONDS };
    const expiresAt = this.#signer.verify({ method: "GET", path }, request.url.slice(path.length + 1));
    if (expiresAt === undefined) throw appError("INVALID_SIGNATURE");
    return { file, maxAgeSeconds: Math.floor(expiresAt - Date.now() / 1000) };
  }

  async #answerRead(request: GatewayRequest, response: ServerResponse): Promise<void> {
    const wanted = this.#wantedBy(request);
    const { file } = wanted;
    const { headers } = request;
    const isRead = request.method === "GET";
    const admit = () => this.#admit(request, response);
    const recalled = this.#files.recall(file);
    // One look at the storage, unless it has to be known first what is there.
    const isPlain = isRead && headers["if-none-match"] === undefined && headers.range === undefined;
    const whole = !recalled && isPlain ? await this.#files.read(file, admit) : undefined;
    const known = recalled ?? whole ?? (await this.#files.head(file, admit));
    const { info, tag } = known;
    if (knownTag(headers["if-none-match"], tag) !== undefined) {
      setCacheHeaders(response, wanted, tag);
      sendEmpty(response, 304);
      return;
    }
    const range = isRead ? rangeAskedOf(known, request) : undefined;
    if (range === "unsatisfiable") {
      response.setHeader("Content-Range", `bytes */${info.bytes}`);
      throw appError("RANGE_NOT_SATISFIABLE", { detail: `The file has ${info.bytes} bytes.` });
    }
    const body = isRead ? (whole ?? (await this.#files.read(file, admit, range))).body : undefined;
    const describe = () => setFileHeaders(response, wanted, known, range);
    if (body && !Buffer.isBuffer(body)) {
      await this.#sendStream(request, response, body, describe);
      return;
    }
    describe();
    if (body) this.#sendBytes(response, body);
    else response.end();
  }

  /** For what has to be made. @throws RATE_LIMITED */
  async #admit(request: GatewayRequest, response: ServerResponse): Promise<void> {
    const intent = { action: "images.render", isRead: true, principal: ANONYMOUS } as const;
    await this.#parts.limits?.admit(request, response, intent);
  }

  #sendBytes(response: ServerResponse, bytes: Buffer): void {
    response.end(bytes);
    // The system has taken them all, or the client has left: there is nothing to wait for.
    if (response.writableFinished || response.destroyed) return;
    response.once("close", this.#files.lend(bytes.length));
  }

  /**
   * As fast as the client takes it.
   *
   * @param describe sets the headers
   * @throws TOO_MANY_DOWNLOADS, OVERLOADED
   */
  async #sendStream(
    request: GatewayRequest,
    response: ServerResponse,
    stream: Readable,
    describe: () => void,
  ): Promise<void> {
    const client = this.#parts.clientOf(request, ANONYMOUS);
    try {
      await this.#places.run(client, async () => {
        describe();
        await this.#pipe(request, response, stream);
      });
    } finally {
      // Not even begun, for a client that was refused or had left already.
      stream.destroy();
    }
  }

  async #pipe(request: GatewayRequest, response: ServerResponse, stream: Readable): Promise<void> {
    try {
      await pipeline(stream, response);
    } catch (error) {
      // Such clients are in the access log.
      if (CLIENT_HAS_LEFT.has((error as NodeJS.ErrnoException).code)) return;
      this.#parts.log.warn({ err: error, requestId: request.id }, "a file was not sent whole");
    }
  }
}

/** The part of a file that the client asks for, unless it has parts of another one. */
function rangeAskedOf({ info, tag }: KnownFile, { headers }: GatewayRequest): ReturnType<typeof rangeOf> {
  return (headers["if-range"] ?? tag) === tag ? rangeOf(headers.range, info.bytes) : undefined;
}

/** What belongs to an answer with a file, or a part of it. */
function setFileHeaders(
  response: ServerResponse,
  wanted: Wanted,
  { info, tag }: KnownFile,
  range: ByteRange | undefined,
): void {
  setCacheHeaders(response, wanted, tag);
  response.setHeader("Content-Type", mediaType(wanted.file.format));
  response.setHeader("Accept-Ranges", "bytes");
  response.setHeader("Content-Length", range ? range.end - range.start + 1 : info.bytes);
  if (!range) return;
  response.statusCode = 206;
  response.setHeader("Content-Range", `bytes ${range.start}-${range.end}/${info.bytes}`);
}

/** What belongs to each answer about a file, also to the one that the client has it. */
function setCacheHeaders(
  response: ServerResponse,
  { file: { visibility }, maxAgeSeconds }: Wanted,
  tag: string,
): void {
  response.setHeader("ETag", tag);
  response.setHeader("Cache-Control", `${visibility}, max-age=${maxAgeSeconds}, immutable`);
  if (visibility === "private") return;
  // Everybody may read them. Were it said to each origin by its name, a CDN would have to keep them for each.
  response.setHeader("Access-Control-Allow-Origin", "*");
  for (const name of OF_ONE_CLIENT) response.removeHeader(name);
}
