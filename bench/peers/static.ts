/**
 * The peer of `bench/media.ts`: the least with which Node serves files from a folder as they should be: size, type, ETag
 * and 304. `node bench/peers/static.ts FOLDER PORT`
 */
import { open, stat } from "node:fs/promises";
import { createServer, type ServerResponse } from "node:http";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";

const [, , folder = "", port = ""] = process.argv;

createServer((request, response) => {
  const known = request.headers["if-none-match"];
  void serve(join(folder, request.url ?? ""), known, response).catch(() => {
    if (response.headersSent) response.destroy();
    else response.writeHead(404).end();
  });
}).listen(Number(port), "127.0.0.1");

async function serve(path: string, known: string | undefined, response: ServerResponse): Promise<void> {
  if (known !== undefined) {
    const etag = tagOf(await stat(path));
    if (etag === known) {
      response.writeHead(304, { ETag: etag }).end();
      return;
    }
  }
  const file = await open(path);
  const stats = await file.stat();
  if (response.destroyed) return file.close();
  response.writeHead(200, {
    "Content-Type": "image/webp",
    "Content-Length": stats.size,
    ETag: tagOf(stats),
    "Cache-Control": "public, max-age=31536000, immutable",
  });
  await pipeline(file.createReadStream({ end: stats.size - 1 }), response);
}

function tagOf({ mtimeMs, size }: { mtimeMs: number; size: number }): string {
  return `"${mtimeMs.toString(36)}-${size.toString(36)}"`;
}
