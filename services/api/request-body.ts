import { isUtf8 } from "node:buffer";
import type { IncomingMessage } from "node:http";
import { parse as parseJson } from "secure-json-parse";
import { appError } from "../../broker/errors.ts";

/** Largest body of a JSON request: 1 MiB. */
export const BODY_LIMIT_BYTES = 1_048_576;

/** Deepest nesting of a body. Serialising a deeper one between nodes could exhaust the stack. */
const MAX_DEPTH = 20;

/**
 * Reads the JSON object that a request carries; an absent body is undefined.
 *
 * @param consumes the media types that the route takes
 * @throws UNSUPPORTED_MEDIA_TYPE, PAYLOAD_TOO_LARGE, MALFORMED_BODY, VALIDATION_FAILED
 */
export async function readBody(
  request: IncomingMessage,
  consumes: readonly string[],
): Promise<Record<string, unknown> | undefined> {
  const { "content-length": length, "transfer-encoding": chunked } = request.headers;
  if ((length === undefined || length === "0") && chunked === undefined) return undefined;

  requireMediaType(request, consumes.length > 0 ? consumes : ["application/json"]);
  if (Number(length) > BODY_LIMIT_BYTES) throw tooLarge();
  const bytes = await readBytes(request);
  return bytes.length === 0 ? undefined : parseObject(bytes);
}

function requireMediaType({ headers }: IncomingMessage, consumes: readonly string[]): void {
  const [type = "", ...parameters] = (headers["content-type"] ?? "")
    .split(";")
    .map((part) => part.trim().toLowerCase());
  const charset = parameters.find((parameter) => parameter.startsWith("charset="))?.slice("charset=".length);
  const isUtf8Text = charset === undefined || charset.replaceAll('"', "") === "utf-8";
  const isPlain = (headers["content-encoding"] ?? "identity") === "identity";
  if (consumes.includes(type) && isUtf8Text && isPlain) return;
  throw appError("UNSUPPORTED_MEDIA_TYPE", {
    detail: `Send ${consumes.join(" or ")} in UTF-8, not compressed.`,
  });
}

function readBytes(request: IncomingMessage): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let size = 0;
    request.on("data", (chunk: Buffer) => {
      size += chunk.length;
      if (size <= BODY_LIMIT_BYTES) chunks.push(chunk);
      else {
        request.removeAllListeners("data");
        request.pause();
        reject(tooLarge());
      }
    });
    request.on("end", () => resolve(Buffer.concat(chunks)));
    // The client is gone, so nobody reads this answer; but it is no error of ours.
    const breakOff = () => reject(appError("MALFORMED_BODY", { detail: "The body did not arrive whole." }));
    request.on("error", breakOff);
    if (request.destroyed) breakOff();
  });
}

const tooLarge = () =>
  appError("PAYLOAD_TOO_LARGE", { detail: `At most ${BODY_LIMIT_BYTES} bytes are allowed.` });

function parseObject(bytes: Buffer): Record<string, unknown> {
  if (!isUtf8(bytes)) throw appError("MALFORMED_BODY", { detail: "The body is not valid UTF-8." });
  let value: unknown;
  try {
    value = parseJson(bytes.toString("utf8"), { protoAction: "error", constructorAction: "error" });
  } catch (error) {
    throw (error as Error).message.includes("forbidden prototype")
      ? appError("VALIDATION_FAILED", {
          errors: [
            {
              field: "__proto__",
              rule: "forbidden",
              message: "'__proto__' and 'constructor' are not allowed.",
            },
          ],
        })
      : appError("MALFORMED_BODY", { detail: "The body is not valid JSON." });
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw appError("MALFORMED_BODY", { detail: "The body must be a JSON object." });
  }
  requireShallow(value);
  return value as Record<string, unknown>;
}

/** Goes level by level, since a recursion would itself exhaust the stack. */
function requireShallow(root: object): void {
  let level: object[] = [root];
  for (let depth = 1; level.length > 0; depth += 1) {
    if (depth > MAX_DEPTH) {
      throw appError("MALFORMED_BODY", { detail: `The body is nested deeper than ${MAX_DEPTH} levels.` });
    }
    level = level.flatMap((node) =>
      Object.values(node).filter((value): value is object => typeof value === "object" && value !== null),
    );
  }
}
