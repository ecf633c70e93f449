import compression from "compression";
import type { ServerResponse } from "node:http";
import { codedTag } from "./entity-tag.ts";
import type { Middleware } from "./gateway-request.ts";

/** Compresses texts that are large enough for it to matter, for clients that take it. */
export function compressor(): Middleware {
  const compress = compression() as Middleware;
  return (request, response, next) => {
    tagByCoding(response);
    compress(request, response, next);
  };
}

/** Bytes that are compressed have another strong tag than those that are not (RFC 9110, 8.8.3.3). */
function tagByCoding(response: ServerResponse): void {
  const writeHead = response.writeHead.bind(response) as (...given: unknown[]) => ServerResponse;
  // Wrapped before the compression does it: so it has said by then whether it compresses.
  response.writeHead = (...given: unknown[]) => {
    const tag = response.getHeader("ETag");
    const coding = response.getHeader("Content-Encoding");
    if (typeof tag === "string" && typeof coding === "string") {
      response.setHeader("ETag", codedTag(tag, coding));
    }
    return writeHead(...given);
  };
}
