import type { IncomingMessage } from "node:http";
import { appError } from "../../broker/errors.ts";
import { saveStream, type SavedBytes } from "../../lib/saved-stream.ts";
import { openTemporaryFolder, type TemporaryFolder } from "../../lib/temporary-folder.ts";
import { SharedPlaces } from "./shared-places.ts";
import { fileOf, tooLarge } from "./upload-body.ts";

/** An upload that has arrived, in a file of this node. */
export interface SpooledUpload extends SavedBytes {
  path: string;
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
  readonly #limitBytes: number;
  readonly #places: SharedPlaces;
  #folder: TemporaryFolder | undefined;

  constructor({ uploads, bytes }: SpoolLimits) {
    this.#limitBytes = bytes;
    this.#places = new SharedPlaces(uploads, "TOO_MANY_UPLOADS");
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
   * Takes the file that a request of a client carries and hands it to `use`, after which it is removed.
   *
   * @throws TOO_MANY_UPLOADS, OVERLOADED, UNSUPPORTED_MEDIA_TYPE, PAYLOAD_TOO_LARGE, MALFORMED_BODY, VALIDATION_FAILED,
   *   before the body is read if that is possible; STORAGE_UNAVAILABLE when the disk is full; and what `use` throws
   */
  async take<T>(
    request: IncomingMessage,
    client: string,
    use: (upload: SpooledUpload) => Promise<T>,
  ): Promise<T> {
    const folder = this.#folder;
    if (!folder) throw appError("OVERLOADED");
    return this.#places.run(client, () =>
      folder.use(async (path) => use({ path, ...(await this.#receive(request, path)) })),
    );
  }

  async #receive(request: IncomingMessage, path: string): Promise<SavedBytes> {
    const limitBytes = this.#limitBytes;
    const exceeded = () => tooLarge(limitBytes);
    const saved = await saveStream(fileOf(request, limitBytes), { path, limitBytes, exceeded });
    if (saved.bytes === 0) throw appError("MALFORMED_BODY", { detail: "The file is empty." });
    return saved;
  }
}
