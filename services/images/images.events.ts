import type { EventDefinitions } from "../../lib/event-definition.ts";
import type { JsonSchema } from "../../lib/json-schema.ts";
import { VISIBILITIES } from "../../lib/media-path.ts";
import { SOURCE_FORMATS } from "./image-processor.ts";
import type { Image } from "./images.contract.ts";

/** An image in an event: without its URLs, as those of a private one let everybody who reads the event see it. */
export type ImageFacts = Omit<Image, "urls" | "urlsExpireAt">;

/** Domain events of the images service. The subject of the first two is an image, that of the last a user. */
export interface ImagesEvents {
  "image-created_v1": ImageFacts;
  "image-deleted_v1": { id: string; userId: string; version: number };
  "user-avatar-changed_v1": { id: string; imageId: string | null };
}

const imageId = { type: "string", format: "uuid", description: "Of the image." } as const;
const userId = { type: "string", format: "uuid", description: "Of the user whose image it is." } as const;

const imageSchema = {
  title: "Image",
  type: "object",
  properties: {
    id: imageId,
    userId,
    visibility: { enum: VISIBILITIES },
    format: { enum: SOURCE_FORMATS, description: "Of the uploaded bytes." },
    width: { type: "integer", minimum: 1, description: "Of the upright image, in pixels." },
    height: { type: "integer", minimum: 1, description: "Of the upright image, in pixels." },
    bytes: { type: "integer", minimum: 1, description: "Size of the uploaded bytes." },
    sha256: { type: "string", pattern: "^[0-9a-f]{64}$", description: "Of the uploaded bytes." },
    thumbhash: {
      type: "string",
      description: "A placeholder, https://evanw.github.io/thumbhash/, in Base64.",
    },
    dominantColor: { type: "string", pattern: "^#[0-9a-f]{6}$" },
    version: { type: "integer", minimum: 1, description: "Always 1: an image never changes." },
    createdAt: { type: "string", format: "date-time", description: "When the image was made." },
  },
  required: [
    "id",
    "userId",
    "visibility",
    "format",
    "width",
    "height",
    "bytes",
    "sha256",
    "thumbhash",
    "dominantColor",
    "version",
    "createdAt",
  ],
} as const satisfies JsonSchema;

const deletedImageSchema = {
  title: "DeletedImage",
  type: "object",
  properties: {
    id: imageId,
    userId,
    version: { type: "integer", minimum: 1, description: "Always 2: what comes after the only one." },
  },
  required: ["id", "userId", "version"],
} as const satisfies JsonSchema;

const avatarSchema = {
  title: "Avatar",
  type: "object",
  properties: {
    id: { type: "string", format: "uuid", description: "Of the user." },
    imageId: { type: ["string", "null"], format: "uuid", description: "Null: the user has no avatar." },
  },
  required: ["id", "imageId"],
} as const satisfies JsonSchema;

const source = "/rollcall/images";

/** What is said of the events in documents, and the schema of each payload: the types above, for other languages. */
export const IMAGES_EVENTS = {
  "image-created_v1": {
    source,
    description: "An image was made, in all presets. Its URLs are those that `GET /images/:id` tells.",
    schema: imageSchema,
  },
  "image-deleted_v1": {
    source,
    description: "An image was deleted, by itself or with its user. Its files are being removed.",
    schema: deletedImageSchema,
    isErasure: true,
  },
  "user-avatar-changed_v1": {
    source,
    description: "A user has another avatar, or none. The `user-updated_v1` that follows has its URL.",
    schema: avatarSchema,
  },
} as const satisfies EventDefinitions<keyof ImagesEvents>;
