import type { ServerResponse } from "node:http";
import type { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import type { Logger } from "pino";
import { appError } from "../../broker/errors.ts";
import { mediaType, parseMediaPath, type MediaFile } from "../../lib/media-path.ts";
import { createUrlSigner, type UrlSigner } from "../../lib/signed-url.ts";
import type { ObjectInfo } from "../../lib/storage/storage.ts";
import { rangeOf } from "./byte-range.ts";
import { knownTag } from "./entity-tag.ts";
import type { GatewayRequest } from "./gateway-request.ts";
import { ANONYMOUS } from "./guard.ts";
import { MediaFiles, type MediaFilesParts } from "./media-files.ts";
import type { RateLimits } from "./rate-limits.ts";
import { pathOf, READ_METHODS, sendAllowed, sendEmpty, sendProblem } from "./respond.ts";

export const MEDIA_PREFIX = "/media/";
const PUBLIC_ROUTE = "/media/:hash/:file";
const PRIVATE_ROUTE = "/media/private/:hash/:file";
export const MEDIA_ROUTES = [PUBLIC_ROUTE, PRIVATE_ROUTE];

const YEAR_SECONDS = 31_536_000;
/** For so long a client may take nothing. */
const IDLE_MS = 30_000;

/** What a pipeline says when the other side is gone: in the middle, or before it has begun. */
const CLIENT_HAS_LEFT: ReadonlySet<unknown> = new Set([
  "ERR_STREAM_PREMATURE_CLOSE",
  "ERR_STREAM_UNABLE_TO_PIPE",
]);

interface MediaParts extends MediaFilesParts {
  /** The node's SECRET, with which URLs of private images are signed. */
  secret: string;
  /** Undefined: none. */
  limits: RateLimits | undefined;
  /** A client that takes nothing for so long is disconnected; 30 s by default. */
  idleMs?: number;
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

  constructor(parts: MediaParts) {
    this.#parts = parts;
    this.#files = new MediaFiles(parts);
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
    const admit = () => this.#admit(request, response);
    const { method, headers } = request;
    const isPlain = method === "GET" && headers["if-none-match"] === undefined && headers.range === undefined;
    // One look at the storage, unless it has to be known first what is there.
    const whole = isPlain ? await this.#files.read(file, admit) : undefined;
    const info = whole?.info ?? (await this.#files.head(file, admit));
    const tag = tagOf(info);
    if (knownTag(headers["if-none-match"], tag) !== undefined) {
      setHeaders(response, wanted, tag);
      sendEmpty(response, 304);
      return;
    }
    const range = method === "GET" ? partOf(request, info, tag) : undefined;
    if (range === "unsatisfiable") {
      response.setHeader("Content-Range", `bytes */${info.bytes}`);
      throw appError("RANGE_NOT_SATISFIABLE", { detail: `The file has ${info.bytes} bytes.` });
    }
    const found = whole ?? (method === "GET" ? await this.#files.read(file, admit, range) : undefined);
    setHeaders(response, wanted, tag);
    response.setHeader("Content-Length", range ? range.end - range.start + 1 : info.bytes);
    if (range) {
      response.statusCode = 206;
      response.setHeader("Content-Range", `bytes ${range.start}-${range.end}/${info.bytes}`);
    }
    if (found) await this.#send(request, response, found.body);
    else response.end();
  }

  /** For what has to be made. @throws RATE_LIMITED */
  async #admit(request: GatewayRequest, response: ServerResponse): Promise<void> {
    const intent = { action: "images.render", isRead: true, principal: ANONYMOUS } as const;
    await this.#parts.limits?.admit(request, response, intent);
  }

  /** As fast as the client takes it. */
  async #send(request: GatewayRequest, response: ServerResponse, body: Buffer | Readable): Promise<void> {
    response.setTimeout(this.#parts.idleMs ?? IDLE_MS, () => response.destroy());
    if (Buffer.isBuffer(body)) {
      response.end(body);
      return;
    }
    try {
      await pipeline(body, response);
    } catch (error) {
      // For a client that had left already, the pipeline has not begun, and does not end what it was to read.
      body.destroy();
      // Such clients are in the access log.
      if (CLIENT_HAS_LEFT.has((error as NodeJS.ErrnoException).code)) return;
      this.#parts.log.warn({ err: error, requestId: request.id }, "a file was not sent whole");
    }
  }
}

/** The part of a file that the client asks for, unless it has parts of another one. */
function partOf({ headers }: GatewayRequest, { bytes }: ObjectInfo, tag: string): ReturnType<typeof rangeOf> {
  return (headers["if-range"] ?? tag) === tag ? rangeOf(headers.range, bytes) : undefined;
}

/** Of the stored object: were it made anew, the tag would be another one. */
function tagOf({ bytes, modifiedAt }: ObjectInfo): string {
  return `"${modifiedAt.getTime().toString(36)}-${bytes.toString(36)}"`;
}

function setHeaders(
  response: ServerResponse,
  { file: { visibility, format }, maxAgeSeconds }: Wanted,
  tag: string,
): void {
  response.setHeader("Content-Type", mediaType(format));
  response.setHeader("ETag", tag);
  response.setHeader("Cache-Control", `${visibility}, max-age=${maxAgeSeconds}, immutable`);
  response.setHeader("Accept-Ranges", "bytes");
  // Other sites show them, too.
  response.setHeader("Cross-Origin-Resource-Policy", "cross-origin");
  if (visibility === "private") return;
  // Everybody may read them. Were it said to each origin by its name, a CDN would have to keep them for each.
  response.setHeader("Access-Control-Allow-Origin", "*");
  response.removeHeader("Vary");
}
