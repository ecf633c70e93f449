import { Busboy, type BusboyHeaders, type BusboyInstance } from "@fastify/busboy";
import type { IncomingMessage } from "node:http";
import { PassThrough, type Readable, type Writable } from "node:stream";
import { appError, invalidField } from "../../broker/errors.ts";

const FORM = "multipart/form-data";
const RAW = /^(?:image\/[\w.+-]{1,64}|application\/octet-stream)$/;

/** The one field of a form. */
const FIELD = "file";

/** What a form may have around its file, in bytes: boundaries and the headers of the part. */
const FORM_OVERHEAD_BYTES = 65_536;

const FORM_LIMITS = { files: 1, fields: 1, parts: 2, fieldSize: 1024, headerPairs: 20, headerSize: 8192 };

/**
 * The bytes of the one file that a request carries, as they arrive: its whole body, or the file of a form
 * (multipart/form-data, RFC 7578). What the client says of the file, its name and its type, is not looked at.
 *
 * The stream fails with VALIDATION_FAILED, which names the field, when a form has anything but one file in the field
 * `file`, with MALFORMED_BODY when it cannot be read or does not arrive whole, and with PAYLOAD_TOO_LARGE when there
 * is more than a form of `limitBytes` could have. When the stream ends, in whatever way, nothing more is read from the
 * request, which stays open so that it can be answered.
 *
 * @throws UNSUPPORTED_MEDIA_TYPE, PAYLOAD_TOO_LARGE, MALFORMED_BODY for what can be refused before the body is read
 */
export function fileOf(request: IncomingMessage, limitBytes: number): Readable {
  const isForm = requireMediaType(request) === FORM;
  const bodyLimitBytes = limitBytes + (isForm ? FORM_OVERHEAD_BYTES : 0);
  const announcedBytes = Number(request.headers["content-length"] ?? 0);
  if (announcedBytes > bodyLimitBytes) throw tooLarge(limitBytes);

  const file = new PassThrough();
  const sink = isForm ? formParser(request, file) : file;
  let bytes = 0;
  request.on("data", count);
  request.on("error", breakOff);
  request.on("close", breakOff);
  file.once("close", () => {
    request.off("data", count);
    request.off("error", breakOff);
    request.off("close", breakOff);
    request.unpipe(sink);
    request.pause();
    sink.destroy();
  });
  // One that has no body is both destroyed and ended.
  if (request.destroyed && !request.readableEnded) breakOff();
  else request.pipe(sink);
  return file;

  function count(chunk: Buffer): void {
    bytes += chunk.length;
    if (bytes > bodyLimitBytes) file.destroy(tooLarge(limitBytes));
  }

  function breakOff(): void {
    if (request.readableEnded) return;
    // The client has gone, so nobody reads this answer; but it is no error of ours.
    file.destroy(appError("MALFORMED_BODY", { detail: "The body did not arrive whole." }));
  }
}

/** The error for a file that is larger than is taken. */
export function tooLarge(limitBytes: number): Error {
  return appError("PAYLOAD_TOO_LARGE", { detail: `At most ${limitBytes} bytes are allowed.` });
}

function requireMediaType({ headers }: IncomingMessage): string {
  const [type = ""] = (headers["content-type"] ?? "").split(";");
  const name = type.trim().toLowerCase();
  const isPlain = (headers["content-encoding"] ?? "identity") === "identity";
  if ((name === FORM || RAW.test(name)) && isPlain) return name;
  throw appError("UNSUPPORTED_MEDIA_TYPE", {
    detail: `Send ${FORM} with a file in the field '${FIELD}', or the bytes as image/*, not compressed.`,
  });
}

/** Takes a form apart: the bytes of its file go into `file`, which fails when it is not as it should be. */
function formParser(request: IncomingMessage, file: PassThrough): Writable {
  const parser = createParser(request);
  const fail = (error: Error) => file.destroy(error);
  let hasFile = false;

  parser.on("file", (name, content) => {
    // The parser reports it too.
    content.on("error", () => undefined);
    if (name !== FIELD) {
      fail(unknownField(name));
      return;
    }
    hasFile = true;
    content.pipe(file, { end: false });
  });
  parser.on("field", (name) =>
    fail(name === FIELD ? invalidField(name, "file", "The field must be a file.") : unknownField(name)),
  );
  parser.on("filesLimit", () => fail(invalidField(FIELD, "single", "Send one file, not several.")));
  parser.on("partsLimit", () => fail(malformed("The form has too many parts.")));
  parser.on("error", () => fail(malformed("The body is not a whole multipart form.")));
  parser.on("finish", () => {
    if (hasFile) file.end();
    else fail(invalidField(FIELD, "required", "The form must have a file in this field."));
  });
  return parser;
}

function createParser({ headers }: IncomingMessage): BusboyInstance {
  try {
    return new Busboy({ headers: headers as BusboyHeaders, limits: FORM_LIMITS });
  } catch {
    throw malformed("The Content-Type does not say what separates the parts of the form.");
  }
}

const malformed = (detail: string) => appError("MALFORMED_BODY", { detail });

function unknownField(name: string | undefined): Error {
  const field = name ?? "";
  return invalidField(field, "unknown", `'${field}' is not known here. The file goes into '${FIELD}'.`);
}
