import { open } from "node:fs/promises";
import type { Readable } from "node:stream";
import {
  DeleteObjectsCommand,
  GetObjectCommand,
  HeadBucketCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  type S3Client,
} from "@aws-sdk/client-s3";
import { getSignedUrl } from "@aws-sdk/s3-request-presigner";
import type { Logger } from "pino";
import { pause } from "../waiting.ts";
import { availableInTime, watchedStream, type Work } from "./failures.ts";
import { requireKey, requirePrefix } from "./key.ts";
import { createS3Client, mayPass, unlessNoSuchKey, type S3ClientOptions } from "./s3-client.ts";
import type { ByteRange, DirectPut, LocalFile, ObjectInfo, Storage } from "./storage.ts";

interface S3StorageOptions extends S3ClientOptions {
  bucket: string;
  /** Where clients reach the server, if that is elsewhere. */
  publicEndpoint: string | undefined;
  log: Logger;
}

/** What the protocol takes in one request. */
const DELETE_BATCH = 1000;

/** Before what has failed is tried once more. */
const MAX_PAUSE_MS = 100;

/** Objects in a bucket of S3, or of a server that speaks its protocol. */
export class S3Storage implements Storage {
  readonly #client: S3Client;
  /** Makes URLs for clients, and sends nothing. */
  readonly #signer: S3Client;
  readonly #bucket: string;
  readonly #timeoutMs: number;
  readonly #log: Logger;

  constructor(options: S3StorageOptions) {
    this.#client = createS3Client(options);
    this.#signer = createS3Client({ ...options, endpoint: options.publicEndpoint ?? options.endpoint });
    this.#bucket = options.bucket;
    this.#timeoutMs = options.timeoutMs;
    this.#log = options.log;
  }

  async put(key: string, file: LocalFile): Promise<void> {
    requireKey(key);
    await this.#attempt("put", async (abortSignal, progress) => {
      const send = () => this.#send(key, file, abortSignal, progress);
      // Once more, as the SDK tries whatever is no stream.
      await send().catch(async (error: unknown) => {
        if (!mayPass(error)) throw error;
        await pause(Math.random() * MAX_PAUSE_MS, abortSignal);
        abortSignal.throwIfAborted();
        await send();
      });
    });
  }

  async head(key: string): Promise<ObjectInfo | undefined> {
    const command = new HeadObjectCommand(this.#object(key));
    const found = await this.#attempt("head", (abortSignal) =>
      unlessNoSuchKey(this.#client.send(command, { abortSignal })),
    );
    return found && { key, bytes: found.ContentLength ?? 0, modifiedAt: found.LastModified ?? new Date(0) };
  }

  async read(key: string, range?: ByteRange): Promise<{ info: ObjectInfo; stream: Readable } | undefined> {
    const Range = range && `bytes=${range.start}-${range.end}`;
    const command = new GetObjectCommand({ ...this.#object(key), Range });
    const found = await this.#attempt("read", (abortSignal) =>
      unlessNoSuchKey(this.#client.send(command, { abortSignal })),
    );
    if (!found) return undefined;
    const bytes = range ? Number(found.ContentRange?.split("/")[1]) : (found.ContentLength ?? 0);
    const info = { key, bytes, modifiedAt: found.LastModified ?? new Date(0) };
    return { info, stream: watchedStream(found.Body as Readable, this.#timeoutMs) };
  }

  async remove(keys: readonly string[]): Promise<void> {
    const objects = keys.map((key) => ({ Key: this.#object(key).Key }));
    for (let start = 0; start < objects.length; start += DELETE_BATCH) {
      const Delete = { Objects: objects.slice(start, start + DELETE_BATCH), Quiet: true };
      const command = new DeleteObjectsCommand({ Bucket: this.#bucket, Delete });
      await this.#attempt("remove", async (abortSignal) => {
        const { Errors = [] } = await this.#client.send(command, { abortSignal });
        const failed = Errors.find(({ Code }) => Code !== "NoSuchKey");
        if (failed) throw new Error(`${failed.Key} was not removed: ${failed.Code} ${failed.Message}`);
      });
    }
  }

  async *list(prefix: string, after = ""): AsyncIterable<ObjectInfo> {
    requirePrefix(prefix);
    let ContinuationToken: string | undefined;
    do {
      const command = new ListObjectsV2Command({
        Bucket: this.#bucket,
        Prefix: prefix,
        StartAfter: after || undefined,
        ContinuationToken,
      });
      const page = await this.#attempt("list", (abortSignal) => this.#client.send(command, { abortSignal }));
      for (const { Key: key = "", Size = 0, LastModified = new Date(0) } of page.Contents ?? []) {
        yield { key, bytes: Size, modifiedAt: LastModified };
      }
      ContinuationToken = page.NextContinuationToken;
    } while (ContinuationToken !== undefined);
  }

  async directPut(
    key: string,
    {
      bytes,
      contentType,
      expiresInSeconds,
    }: { bytes: number; contentType: string; expiresInSeconds: number },
  ): Promise<DirectPut> {
    const command = new PutObjectCommand({
      ...this.#object(key),
      ContentLength: bytes,
      ContentType: contentType,
    });
    const url = await this.#attempt("sign", () =>
      getSignedUrl(this.#signer, command, {
        expiresIn: expiresInSeconds,
        // Else the client could send anything.
        signableHeaders: new Set(["host", "content-length", "content-type"]),
      }),
    );
    return { url, headers: { "content-length": String(bytes), "content-type": contentType } };
  }

  async check(): Promise<void> {
    const command = new HeadBucketCommand({ Bucket: this.#bucket });
    await availableInTime(this.#timeoutMs, (abortSignal) => this.#client.send(command, { abortSignal }));
  }

  close(): void {
    this.#client.destroy();
    this.#signer.destroy();
  }

  /** @throws Error for what is no key */
  #object(key: string): { Bucket: string; Key: string } {
    requireKey(key);
    return { Bucket: this.#bucket, Key: key };
  }

  #attempt<T>(operation: string, work: Work<T>): Promise<T> {
    return availableInTime(this.#timeoutMs, work, (err) =>
      this.#log.warn({ err, operation }, "the storage has failed"),
    );
  }

  async #send(
    key: string,
    { path, bytes, contentType }: LocalFile,
    abortSignal: AbortSignal,
    progress: () => void,
  ): Promise<void> {
    const file = await open(path, "r");
    const body = file.createReadStream();
    try {
      const { size } = await file.stat();
      if (size !== bytes) throw new Error(`${bytes} bytes were to be stored, ${size} are there`);
      // Paused, as the listener would have the bytes flow before there is a connection to take them.
      body.on("data", progress).pause();
      const command = new PutObjectCommand({
        ...this.#object(key),
        Body: body,
        ContentLength: bytes,
        ContentType: contentType,
      });
      const unreadable = new Promise<never>((_, reject) => body.on("error", reject));
      await Promise.race([this.#client.send(command, { abortSignal }), unreadable]);
    } finally {
      body.destroy();
    }
  }
}
