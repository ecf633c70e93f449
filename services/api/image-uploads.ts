import type { Logger } from "pino";
import { Validator } from "../../broker/validator.ts";
import { appError } from "../../broker/errors.ts";
import type { FieldError } from "../../lib/error-catalogue.ts";
import { newId } from "../../lib/ids.ts";
import { uploadKey } from "../../lib/media-path.ts";
import type { Storage } from "../../lib/storage/storage.ts";
import { createImageParams, IMAGE_LIMIT_BYTES } from "../images/images.contract.ts";
import type { ClientReader } from "./client-address.ts";
import type { GatewayRequest } from "./gateway-request.ts";
import { readIdempotencyKey, readQuery } from "./request-parameters.ts";
import { UploadSpool, type SpooledUpload } from "./upload-spool.ts";

/** In the query: fields of a form after its file would be lost, and raw bytes have none. */
const queryRules = { $$strict: true, visibility: createImageParams.visibility } as const;
const checkQuery = new Validator().compile(queryRules) as (
  query: Record<string, unknown>,
) => true | FieldError[];

interface ImageUploadsParts {
  storage: Storage;
  /** At the same time. */
  uploadsMax: number;
  /** Among clients, what is taken at the same time is shared. */
  clientOf: ClientReader;
  log: Logger;
}

/** Brings uploads into the storage, where the images service finds them: bytes do not travel between nodes. */
export class ImageUploads {
  readonly #storage: Storage;
  readonly #clientOf: ClientReader;
  readonly #log: Logger;
  readonly #spool: UploadSpool;

  constructor({ storage, uploadsMax, clientOf, log }: ImageUploadsParts) {
    this.#storage = storage;
    this.#clientOf = clientOf;
    this.#log = log;
    this.#spool = new UploadSpool({ uploads: uploadsMax, bytes: IMAGE_LIMIT_BYTES });
  }

  /** To be called before the first upload. */
  open(): Promise<void> {
    return this.#spool.open();
  }

  /** To be called after the last. */
  close(): Promise<void> {
    return this.#spool.close();
  }

  /**
   * Stores the file that a request carries and calls `use` with the parameters of `images.create`. Then it is removed
   * again, whatever came of that: it is no image.
   *
   * @throws VALIDATION_FAILED for the query, and as {@link store} and `use` do
   */
  async take<T>(request: GatewayRequest, use: (params: Record<string, unknown>) => Promise<T>): Promise<T> {
    const { visibility } = readUploadQuery(request.url);
    // Only to refuse a wrong one before the body is read.
    readIdempotencyKey(request);
    const uploadId = newId();
    const { bytes, sha256 } = await this.store(request, uploadId, "application/octet-stream");
    try {
      return await use({ ...request.params, uploadId, bytes, sha256, visibility });
    } finally {
      await this.#remove(uploadId);
    }
  }

  /**
   * Stores the file that a request carries.
   *
   * @param contentType what the storage is to know of it
   * @throws STORAGE_UNAVAILABLE, and as {@link UploadSpool.take} does
   */
  store(request: GatewayRequest, uploadId: string, contentType: string): Promise<SpooledUpload> {
    return this.#spool.take(request, this.#clientOf(request, request.principal), async (file) => {
      await this.#storage.put(uploadKey(uploadId), { ...file, contentType });
      return file;
    });
  }

  async #remove(uploadId: string): Promise<void> {
    try {
      await this.#storage.remove([uploadKey(uploadId)]);
    } catch (error) {
      // The images service sweeps what stays.
      this.#log.warn({ err: error, uploadId }, "an upload was not removed");
    }
  }
}

/** @throws VALIDATION_FAILED */
function readUploadQuery(url: string): Record<string, unknown> {
  const query = readQuery(url);
  const outcome = checkQuery(query);
  if (outcome === true) return query;
  throw appError("VALIDATION_FAILED", {
    errors: outcome.map(({ field, rule, message }) => ({ field, rule, message })),
  });
}
