import { createHash, randomUUID } from "node:crypto";
import { open, rm } from "node:fs/promises";
import type { IncomingMessage } from "node:http";
import { join } from "node:path";
import { appError } from "../../broker/errors.ts";
import { isDiskFull } from "../../lib/disk-full.ts";
import { openTemporaryFolder, type TemporaryFolder } from "../../lib/temporary-folder.ts";
import { fileOf, tooLarge } from "./upload-body.ts";

/** An upload that has arrived, in a file of this node. */
export interface SpooledUpload {
  path: string;
  bytes: number;
  /** As hex. */
  sha256: string;
}

interface SpoolLimits {
  /** Uploads at the same time, which bounds the disk that they take. */
  uploads: number;
  /** Of one file. */
  bytes: number;
}

/**
 * Takes uploads from the network into temporary files. Only a piece of each is in memory at a time: a disk that is slow
 * slows the client down.
 */
export class UploadSpool {
  readonly #limits: SpoolLimits;
  #folder: TemporaryFolder | undefined;
  #active = 0;

  constructor(limits: SpoolLimits) {
    this.#limits = limits;
  }

  /** Uploads that are under way. */
  get active(): number {
    return this.#active;
  }

  /** Until then it takes nothing. */
  async open(): Promise<void> {
    this.#folder = await openTemporaryFolder("uploads");
  }

  /** Removes what is left. */
  async close(): Promise<void> {
    await this.#folder?.remove();
  }

  /**
   * Takes the file that a request carries and hands it to `use`, after which it is removed.
   *
   * @throws OVERLOADED, UNSUPPORTED_MEDIA_TYPE, PAYLOAD_TOO_LARGE, MALFORMED_BODY, VALIDATION_FAILED, before the body is
   *   read if that is possible; STORAGE_UNAVAILABLE when the disk is full; and what `use` throws
   */
  async take<T>(request: IncomingMessage, use: (upload: SpooledUpload) => Promise<T>): Promise<T> {
    const folder = this.#folder;
    if (!folder || this.#active >= this.#limits.uploads) throw appError("OVERLOADED");
    this.#active += 1;
    const path = join(folder.path, randomUUID());
    try {
      return await use({ path, ...(await this.#receive(request, path)) });
    } finally {
      await rm(path, { force: true });
      this.#active -= 1;
    }
  }

  async #receive(request: IncomingMessage, path: string): Promise<Omit<SpooledUpload, "path">> {
    const limitBytes = this.#limits.bytes;
    const hash = createHash("sha256");
    let bytes = 0;
    const file = await open(path, "wx", 0o600);
    try {
      for await (const chunk of fileOf(request, limitBytes) as AsyncIterable<Buffer>) {
        bytes += chunk.length;
        if (bytes > limitBytes) throw tooLarge(limitBytes);
        hash.update(chunk);
        await file.appendFile(chunk);
      }
    } catch (error) {
      throw isDiskFull(error) ? appError("STORAGE_UNAVAILABLE", {}, error) : error;
    } finally {
      await file.close();
    }
    if (bytes === 0) throw appError("MALFORMED_BODY", { detail: "The file is empty." });
    return { bytes, sha256: hash.digest("hex") };
  }
}
