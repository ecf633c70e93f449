import type { EventDefinitions } from "../../lib/event-definition.ts";
import type { JsonSchema } from "../../lib/json-schema.ts";
import type { User } from "./users.contract.ts";

/** Domain events of the users service: the payload of each, by type. */
export interface UsersEvents {
  "user-created_v1": User;
  "user-updated_v1": User;
  "user-suspended_v1": User;
  "user-unsuspended_v1": User;
  "user-deleted_v1": User;
  "user-restored_v1": User;
  "user-erased_v1": { id: string; version: number };
}

const id = { type: "string", format: "uuid", description: "Of the user." } as const;
const version = {
  type: "integer",
  minimum: 1,
  description: "Grows by one with every change of the user.",
} as const;
const dateTime = (description: string) => ({ type: "string", format: "date-time", description }) as const;

/** A user as it is after the change. */
const userSchema = {
  title: "User",
  type: "object",
  properties: {
    id,
    email: { type: "string", description: "In small letters. No other user that is not deleted has it." },
    firstName: { type: "string" },
    lastName: { type: "string" },
    nickname: { type: ["string", "null"] },
    country: { type: ["string", "null"], pattern: "^[A-Z]{2}$", description: "ISO 3166-1 alpha-2." },
    bio: { type: ["string", "null"] },
    imageUrls: { type: "array", items: { type: "string", format: "uri-reference" } },
    avatarUrl: { type: ["string", "null"], format: "uri-reference" },
    role: { enum: ["user", "admin"] },
    status: { enum: ["active", "suspended", "deleted"] },
    version,
    createdAt: dateTime("When the user was created."),
    updatedAt: dateTime("When the user was last changed."),
  },
  required: [
    "id",
    "email",
    "firstName",
    "lastName",
    "nickname",
    "country",
    "bio",
    "imageUrls",
    "avatarUrl",
    "role",
    "status",
    "version",
    "createdAt",
    "updatedAt",
  ],
} as const satisfies JsonSchema;

const erasedUserSchema = {
  title: "ErasedUser",
  type: "object",
  properties: { id, version },
  required: ["id", "version"],
} as const satisfies JsonSchema;

const source = "/rollcall/users";

/** What is said of the events in documents, and the schema of each payload: the types above, for other languages. */
export const USERS_EVENTS = {
  "user-created_v1": { source, description: "A user was created.", schema: userSchema },
  "user-updated_v1": {
    source,
    description: "Fields of a user were changed. `changedfields` names them.",
    schema: userSchema,
  },
  "user-suspended_v1": {
    source,
    description: "A user can no longer log in. Its sessions end.",
    schema: userSchema,
  },
  "user-unsuspended_v1": { source, description: "A suspended user can log in again.", schema: userSchema },
  "user-deleted_v1": {
    source,
    description: "A user was deleted. It can be restored for 30 days.",
    schema: userSchema,
  },
  "user-restored_v1": { source, description: "A deleted user is there again.", schema: userSchema },
  "user-erased_v1": {
    source,
    description: "A user was removed for good. Whoever keeps data of the user removes it too.",
    schema: erasedUserSchema,
    isErasure: true,
  },
} as const satisfies EventDefinitions<keyof UsersEvents>;
