/** JSON Schemas of the peer's routes: Fastify compiles them into its validators and serializers. */

const nullable = (type: "string", limits: object = {}) => ({ type, nullable: true, ...limits });

export const user = {
  type: "object",
  properties: {
    id: { type: "string" },
    email: { type: "string" },
    firstName: { type: "string" },
    lastName: { type: "string" },
    nickname: nullable("string"),
    country: nullable("string"),
    bio: nullable("string"),
    imageUrls: { type: "array", items: { type: "string" } },
    avatarUrl: nullable("string"),
    role: { type: "string" },
    status: { type: "string" },
    version: { type: "integer" },
    createdAt: { type: "string", format: "date-time" },
    updatedAt: { type: "string", format: "date-time" },
  },
} as const;

export const page = {
  type: "object",
  properties: { data: { type: "array", items: user }, nextCursor: nullable("string") },
} as const;

export const newUser = {
  type: "object",
  additionalProperties: false,
  required: ["email", "firstName", "lastName"],
  properties: {
    email: { type: "string", format: "email", maxLength: 254 },
    firstName: { type: "string", minLength: 1, maxLength: 100 },
    lastName: { type: "string", minLength: 1, maxLength: 100 },
    nickname: nullable("string", { minLength: 1, maxLength: 50 }),
    country: nullable("string", { pattern: "^[A-Z]{2}$" }),
    bio: nullable("string", { maxLength: 2000 }),
  },
} as const;

export const idParams = {
  type: "object",
  required: ["id"],
  properties: { id: { type: "string", format: "uuid" } },
} as const;

export const listQuery = {
  type: "object",
  additionalProperties: false,
  properties: {
    limit: { type: "integer", minimum: 1, maximum: 100, default: 20 },
    cursor: { type: "string", minLength: 1, maxLength: 1000 },
    sort: { type: "string", enum: ["-createdAt"], default: "-createdAt" },
  },
} as const;
