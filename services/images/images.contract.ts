import type { HealthReport } from "../../lib/health.ts";
import {
  MEDIA_FORMATS,
  PRESET_NAME,
  VISIBILITIES,
  type MediaFormat,
  type Visibility,
} from "../../lib/media-path.ts";
import type { DirectPut } from "../../lib/storage/storage.ts";
import type { Infer } from "../../lib/validation.ts";
import type { SourceFormat } from "./image-processor.ts";

/** An image as every caller sees it. Dates are ISO 8601 in UTC. */
export interface Image {
  id: string;
  userId: string;
  visibility: Visibility;
  /** Of the uploaded bytes. */
  format: SourceFormat;
  /** Of the upright image, in pixels. */
  width: number;
  height: number;
  /** Size and hash (hex) of the uploaded bytes. */
  bytes: number;
  sha256: string;
  /** Base64: a placeholder of 25 bytes or so. https://evanw.github.io/thumbhash/ */
  thumbhash: string;
  /** `#rrggbb`. */
  dominantColor: string;
  /** By preset, then by format. */
  urls: Record<string, Partial<Record<MediaFormat, string>>>;
  /** When the URLs of a private image end; null: never. */
  urlsExpireAt: string | null;
  /** An image never changes: always 1. */
  version: number;
  createdAt: string;
}

/** A page of images; `nextCursor` is null on the last one. */
export interface ImagePage {
  data: Image[];
  nextCursor: string | null;
}

/** What a user shows of its images. */
export interface UserImages {
  /** Of the newest 100 public images, each in its largest preset. */
  imageUrls: string[];
  avatarUrl: string | null;
}

/** An upload for which the client sends the bytes itself, to the URL. */
export interface DirectUpload extends DirectPut {
  uploadId: string;
  method: "PUT";
  expiresAt: string;
}

/** What a check of rows against stored bytes has found, and mended if that was asked for. */
export interface ReconcileReport {
  images: number;
  objects: number;
  /** Ids of images whose original is not there: the first {@link MAX_FINDINGS}. */
  rowsWithoutBytes: string[];
  /** Keys of objects that belong to no image: the first {@link MAX_FINDINGS}. */
  bytesWithoutRows: string[];
  /** How many of both there are. */
  found: number;
  /** Files of configured presets that are not there. They are made when they are asked for. */
  missingFiles: number;
  /** Not one image has its bytes in the storage: it is not the one of this database, so nothing is mended. */
  isForeign: boolean;
  isFixed: boolean;
}

/** More of them are mended and counted, but not told. */
export const MAX_FINDINGS = 1000;

/** Largest upload: 10 MiB. */
export const IMAGE_LIMIT_BYTES = 10_485_760;

const id = { type: "uuid" } as const;
const visibility = { type: "enum", values: VISIBILITIES, default: "public" } as const;
const bytes = { type: "number", integer: true, min: 1, max: IMAGE_LIMIT_BYTES } as const;
const hash = { type: "string", pattern: /^[\da-f]{64}$/ } as const;

/** `id` is of the user, here and wherever an action is about the images of one. */
export const createImageParams = {
  $$strict: true,
  id,
  /** Of bytes that are in the storage under `uploadKey`. Whoever put them there removes them. */
  uploadId: id,
  bytes,
  sha256: hash,
  visibility,
} as const;
export const startUploadParams = {
  $$strict: true,
  id,
  contentType: { type: "enum", values: ["image/jpeg", "image/png", "image/webp", "image/avif", "image/gif"] },
  bytes,
  visibility,
} as const;
export const completeUploadParams = { $$strict: true, id, uploadId: id } as const;
export const listImagesParams = {
  $$strict: true,
  id,
  limit: { type: "number", integer: true, min: 1, max: 100, convert: true, default: 20 },
  cursor: { type: "string", min: 1, max: 1000, optional: true },
} as const;
/** `id` is of the image. */
export const imageParams = { $$strict: true, id } as const;
export const setAvatarParams = { $$strict: true, id, imageId: id } as const;
export const userImagesParams = { $$strict: true, id } as const;
export const renderParams = {
  $$strict: true,
  hash,
  preset: { type: "string", pattern: new RegExp(`^${PRESET_NAME.source}$`) },
  format: { type: "enum", values: MEDIA_FORMATS },
  visibility: { type: "enum", values: VISIBILITIES },
} as const;
export const reconcileParams = { $$strict: true, fix: { type: "boolean", default: false } } as const;

export type ListImages = Infer<typeof listImagesParams>;

/** Actions of the images service. Every one that changes something is safe to retry: see the unit of work. */
export interface ImagesActions {
  "images.health": { params: Record<string, never>; result: HealthReport };
  /**
   * Makes an image of bytes that have arrived.
   *
   * @throws USER_NOT_FOUND, UNSUPPORTED_IMAGE_TYPE, IMAGE_UNREADABLE, IMAGE_TOO_LARGE, UPLOAD_NOT_FOUND, OVERLOADED,
   *   STORAGE_UNAVAILABLE
   */
  "images.create": { params: Infer<typeof createImageParams>; result: Image };
  /** Lets a client send the bytes itself, for 10 minutes. @throws USER_NOT_FOUND, STORAGE_UNAVAILABLE */
  "images.startUpload": { params: Infer<typeof startUploadParams>; result: DirectUpload };
  /** Makes an image of bytes that a client has sent itself. @throws UPLOAD_NOT_FOUND, UPLOAD_INCOMPLETE, and as create */
  "images.completeUpload": { params: Infer<typeof completeUploadParams>; result: Image };
  /** The images of a user, the newest first. @throws USER_NOT_FOUND, INVALID_CURSOR */
  "images.list": { params: Pick<ListImages, "id"> & Partial<ListImages>; result: ImagePage };
  /** @throws IMAGE_NOT_FOUND also for an image of somebody else */
  "images.get": { params: Infer<typeof imageParams>; result: Image };
  /** Removes an image with all its bytes. @throws IMAGE_NOT_FOUND */
  "images.delete": { params: Infer<typeof imageParams>; result: null };
  /** @throws IMAGE_NOT_FOUND, AVATAR_NOT_PUBLIC */
  "images.setAvatar": { params: Infer<typeof setAvatarParams>; result: Image };
  /** The user has no avatar any more. The image stays. */
  "images.clearAvatar": { params: Infer<typeof userImagesParams>; result: null };
  /** Internal: what the user service shows. Read from the primary. */
  "images.ofUser": { params: Infer<typeof userImagesParams>; result: UserImages };
  /** Internal: makes a file that is not there, once. @throws IMAGE_NOT_FOUND also for a preset that is not configured */
  "images.render": { params: Infer<typeof renderParams>; result: null };
  /** Internal: compares rows and stored bytes. What is younger than an hour is left alone: it may be under way. */
  "images.reconcile": { params: Infer<typeof reconcileParams>; result: ReconcileReport };
}
