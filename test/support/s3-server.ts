import { mkdirSync } from "node:fs";
import { join } from "node:path";

import { freePort } from "./ports.ts";
import { startServerProcess, type TestServer } from "./server-process.ts";
import { temporaryDir } from "./test-run.ts";

const S3RVER = join(import.meta.dirname, "../../node_modules/s3rver/bin/s3rver.js");

export interface TestS3 extends TestServer {
  readonly bucket: string;
  /** What it takes for credentials: anything that is signed with this id. */
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  /** Its objects, as files, are in this folder. */
  readonly folder: string;
}

/** A private server of the S3 protocol on a free loopback port, with one empty bucket. */
export async function startS3(): Promise<TestS3> {
  const port = await freePort();
  const bucket = "images";
  const folder = temporaryDir("s3");
  mkdirSync(join(folder, bucket));
  const server = await startServerProcess({
    command: process.execPath,
    args: [S3RVER, "--silent", "--directory", folder, "--address", "127.0.0.1", "--port", String(port)],
    url: `http://127.0.0.1:${port}`,
    port,
    greeting: "GET / HTTP/1.0\r\n\r\n",
    expected: "HTTP/1.1 ",
  });
  return {
    ...server,
    bucket,
    accessKeyId: "S3RVER",
    secretAccessKey: "S3RVER",
    folder: join(folder, bucket),
  };
}
