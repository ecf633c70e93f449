import type { EventDefinitions } from "../../lib/event-definition.ts";
import type { JsonSchema } from "../../lib/json-schema.ts";
import { SCOPES } from "../../lib/principal.ts";
import type { ApiKey } from "./auth.contract.ts";

/** Domain events of the auth service. The subject of the first is a user, that of the others an API key. */
export interface AuthEvents {
  "user-password-changed_v1": { id: string };
  "api-key-created_v1": ApiKey;
  "api-key-rotated_v1": ApiKey;
  "api-key-revoked_v1": ApiKey;
}

const id = (of: string) => ({ type: "string", format: "uuid", description: `Of the ${of}.` }) as const;
const dateTime = { type: "string", format: "date-time" } as const;
const dateTimeOrNull = (description: string) =>
  ({ type: ["string", "null"], format: "date-time", description }) as const;

const passwordChangeSchema = {
  title: "PasswordChange",
  type: "object",
  properties: { id: id("user") },
  required: ["id"],
} as const satisfies JsonSchema;

const apiKeySchema = {
  title: "ApiKey",
  type: "object",
  properties: {
    id: id("API key"),
    name: { type: "string" },
    prefix: { type: "string", description: "How the key begins, so that it can be recognised." },
    scopes: { type: "array", items: { enum: SCOPES }, description: "What the key allows." },
    createdAt: dateTime,
    expiresAt: dateTimeOrNull("Null: it does not expire."),
    lastUsedAt: dateTimeOrNull("To the minute; null when it was never used."),
    previousValidUntil: dateTimeOrNull("Until then the key before the last rotation is valid too."),
    revokedAt: dateTimeOrNull("Null while it is valid."),
  },
  required: [
    "id",
    "name",
    "prefix",
    "scopes",
    "createdAt",
    "expiresAt",
    "lastUsedAt",
    "previousValidUntil",
    "revokedAt",
  ],
} as const satisfies JsonSchema;

const source = "/rollcall/auth";

/** What is said of the events in documents, and the schema of each payload: the types above, for other languages. */
export const AUTH_EVENTS = {
  "user-password-changed_v1": {
    source,
    description: "A user has a new password. All its other sessions have ended.",
    schema: passwordChangeSchema,
  },
  "api-key-created_v1": { source, description: "An API key was made.", schema: apiKeySchema },
  "api-key-rotated_v1": { source, description: "An API key has a new secret.", schema: apiKeySchema },
  "api-key-revoked_v1": { source, description: "An API key is no longer valid.", schema: apiKeySchema },
} as const satisfies EventDefinitions<keyof AuthEvents>;
