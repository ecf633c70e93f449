import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { appError } from "../../broker/errors.ts";
import { mediaType, originalKey, uploadKey, type MediaFormat } from "../../lib/media-path.ts";
import type { LocalFile, Storage } from "../../lib/storage/storage.ts";
import { openTemporaryFolder, type TemporaryFolder } from "../../lib/temporary-folder.ts";
import type { ImageProcessor, PresetFile } from "./image-processor.ts";
import type { ImageRecord, ReceivedImage } from "./images.domain.ts";
import { fileNotFound, uploadNotFound } from "./images.errors.ts";
import { fetchObject, type ExpectedBytes } from "./stored-files.ts";

interface WorkshopParts {
  storage: Storage;
  processor: ImageProcessor;
  /** Images that are worked on, or wait for it, at the same time. */
  limit: number;
}

/** An upload on the disk of this node, and what was made of it. */
export interface FinishedImage {
  received: ReceivedImage;
  original: LocalFile;
  files: PresetFile[];
}

/**
 * Where images are made from stored bytes, on the disk of this node. What is on the disk is bounded, as only so many are
 * let in, and gone when the work is done, however it ended.
 */
export class Workshop {
  readonly #parts: WorkshopParts;
  #folder: TemporaryFolder | undefined;
  #count = 0;

  constructor(parts: WorkshopParts) {
    this.#parts = parts;
  }

  async open(): Promise<void> {
    this.#folder = await openTemporaryFolder("images");
  }

  /** Call it when no work is under way. */
  async close(): Promise<void> {
    await this.#folder?.remove();
  }

  /**
   * Makes everything of an upload, and gives it to `use`.
   *
   * @throws UPLOAD_NOT_FOUND, STORAGE_UNAVAILABLE also when the disk is full, OVERLOADED, and as {@link ImageProcessor} and `use` do
   */
  finish<T>(
    uploadId: string,
    expected: ExpectedBytes,
    use: (image: FinishedImage) => Promise<T>,
  ): Promise<T> {
    const { storage, processor } = this.#parts;
    return this.#inFolder(async (folder) => {
      const path = join(folder, "original");
      const sha256 = await fetchObject(storage, uploadKey(uploadId), path, expected);
      if (sha256 === undefined) throw uploadNotFound(uploadId);
      const { bytes } = expected;
      const { files, ...made } = await processor.process(path, folder);
      const original = { path, bytes, contentType: mediaType(made.format) };
      return use({ received: { ...made, bytes, sha256 }, original, files });
    });
  }

  /**
   * Makes one file of an image that there is, and gives it to `use`.
   *
   * @throws IMAGE_NOT_FOUND when its bytes are not there, else as {@link finish}
   */
  render<T>(
    image: ImageRecord,
    what: { preset: string; format: MediaFormat },
    use: (file: PresetFile) => Promise<T>,
  ): Promise<T> {
    const { storage, processor } = this.#parts;
    return this.#inFolder(async (folder) => {
      const path = join(folder, "original");
      const sha256 = await fetchObject(storage, originalKey(image.hash), path, image);
      if (sha256 === undefined) throw fileNotFound();
      return use(await processor.render(path, folder, what));
    });
  }

  async #inFolder<T>(work: (folder: string) => Promise<T>): Promise<T> {
    if (!this.#folder) throw new Error("The workshop is not open.");
    if (this.#count >= this.#parts.limit) throw appError("OVERLOADED");
    this.#count += 1;
    try {
      return await this.#folder.use(async (folder) => {
        await mkdir(folder);
        return work(folder);
      });
    } finally {
      this.#count -= 1;
    }
  }
}
