import { createHash, randomUUID } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { CallingOptions, ServiceBroker } from "moleculer";
import sharp from "sharp";

import { loadConfig } from "../../lib/config.ts";
import { call, type ActionParams } from "../../lib/contracts.ts";
import { newId } from "../../lib/ids.ts";
import { uploadKey, type Visibility } from "../../lib/media-path.ts";
import { createStorage } from "../../lib/storage/create-storage.ts";
import type { Storage } from "../../lib/storage/storage.ts";
import type { Image } from "../../services/images/images.contract.ts";
import { IMAGE_PATIENCE } from "./patience.ts";
import { newUser } from "./rest-client.ts";
import { silentLogger } from "./silent-logger.ts";
import type { Settings } from "./test-nodes.ts";
import { temporaryDir } from "./test-run.ts";
import { waitFor } from "./wait-for.ts";

/** Two small presets in two formats that are quickly made. */
export const QUICK_IMAGES = {
  IMAGE_PRESETS: "thumb:16x16,large:64",
  IMAGE_FORMATS: "webp,jpeg",
  IMAGE_WORKERS: "2",
} as const satisfies Settings;

/** Keys of the files of an image that was made with {@link QUICK_IMAGES}, below their folder. */
export const QUICK_FILES = ["large.jpeg", "large.webp", "thumb.jpeg", "thumb.webp"];

/** A storage that nodes share: give them its settings. */
export interface SharedStorage {
  readonly storage: Storage;
  readonly settings: Settings;
  /** The keys of all objects, or of those below a prefix. */
  keys(prefix?: string): Promise<string[]>;
}

/** @param own for a storage that is not on the disk */
export async function openSharedStorage(own: Settings = {}): Promise<SharedStorage> {
  const settings = { ...QUICK_IMAGES, DATA_DIR: temporaryDir("images"), ...own };
  const config = loadConfig({ ...IMAGE_PATIENCE, ...settings, SERVICES: "none" });
  const storage = await createStorage(config, silentLogger);
  return {
    storage,
    settings,
    async keys(prefix) {
      const prefixes = prefix === undefined ? ["media/", "originals/", "uploads/"] : [prefix];
      const lists = prefixes.map((each) => Array.fromAsync(storage.list(each), ({ key }) => key));
      return (await Promise.all(lists)).flat();
    },
  };
}

/** What the URLs of an image, and the keys of its files, have in common. */
export function hashOf({ urls }: Pick<Image, "urls">): string {
  return /[\da-f]{64}/.exec(JSON.stringify(urls))?.[0] ?? "?";
}

/** Waits until a storage has no file of these images. */
export async function untilNoFiles(storage: SharedStorage, images: readonly Image[]): Promise<void> {
  const hashes = images.map(hashOf);
  const areGone = async (): Promise<boolean> => {
    const keys = await storage.keys();
    return !keys.some((key) => hashes.some((hash) => key.includes(hash)));
  };
  await waitFor(areGone, { description: "the files to be gone" });
}

/** A PNG of a colour: of few bytes, and other ones for another colour. */
export function pngBytes(color = "#336699", { width = 40, height = 30 } = {}): Promise<Buffer> {
  return sharp({ create: { width, height, channels: 3, background: color } })
    .png()
    .toBuffer();
}

/** Puts bytes into a storage as a gateway does, and returns what it then says of them. */
export async function putUpload(
  storage: Storage,
  bytes: Buffer,
  uploadId: string = newId(),
): Promise<Pick<ActionParams<"images.create">, "uploadId" | "bytes" | "sha256">> {
  await putBytes(storage, uploadKey(uploadId), bytes);
  return { uploadId, bytes: bytes.length, sha256: createHash("sha256").update(bytes).digest("hex") };
}

/** Puts bytes into a storage under any key. */
export async function putBytes(storage: Storage, key: string, bytes: Buffer): Promise<void> {
  const path = join(temporaryDir("upload"), randomUUID());
  await writeFile(path, bytes);
  await storage.put(key, { path, bytes: bytes.length, contentType: "application/octet-stream" });
}

interface UploadOptions extends CallingOptions {
  bytes?: Buffer;
  visibility?: Visibility;
}

/** Uploads an image as a gateway does: bytes, action, bytes away. */
export async function uploadImage(
  { broker, storage }: { broker: ServiceBroker; storage: Storage },
  userId: string,
  { bytes, visibility = "public", ...options }: UploadOptions = {},
): Promise<Image> {
  const upload = await putUpload(storage, bytes ?? (await pngBytes()));
  try {
    return await call(broker, "images.create", { id: userId, ...upload, visibility }, options);
  } finally {
    await storage.remove([uploadKey(upload.uploadId)]);
  }
}

/** A new user's id. */
export async function addUser(broker: ServiceBroker): Promise<string> {
  return (await call(broker, "users.create", newUser())).id;
}
