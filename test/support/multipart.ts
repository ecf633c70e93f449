const BOUNDARY = "a-boundary-of-the-tests";

/** One part of a form. With a file name it is a file. */
export interface FormPart {
  readonly name: string;
  readonly content: string | Buffer;
  readonly filename?: string;
  readonly type?: string;
}

/** The body of a form (RFC 7578) and its content type. Names are sent as they are, however odd. */
export function formOf(parts: readonly FormPart[]): { body: Buffer; headers: { "content-type": string } } {
  const pieces = parts.flatMap(({ name, content, filename, type }) => [
    Buffer.from(
      `--${BOUNDARY}\r\nContent-Disposition: form-data; name="${name}"` +
        (filename === undefined ? "" : `; filename="${filename}"`) +
        (type === undefined ? "" : `\r\nContent-Type: ${type}`) +
        "\r\n\r\n",
    ),
    Buffer.from(content),
    Buffer.from("\r\n"),
  ]);
  return {
    body: Buffer.concat([...pieces, Buffer.from(`--${BOUNDARY}--\r\n`)]),
    headers: { "content-type": `multipart/form-data; boundary=${BOUNDARY}` },
  };
}

/** A form as clients send it: one file. */
export function fileForm(content: string | Buffer, filename = "photo.jpg", type = "image/jpeg") {
  return formOf([{ name: "file", content, filename, type }]);
}
