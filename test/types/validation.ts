/*
 * Checked by the compiler alone: nothing runs this. The types that are derived from the rules of the validator.
 */
import type { Infer } from "../../lib/validation.ts";
import type {
  createUserParams,
  ListUsers,
  NewUser,
  UserChanges,
} from "../../services/users/users.contract.ts";
import type { Equal } from "./equal.ts";

const rules = {
  $$strict: true,
  id: { type: "uuid" },
  email: { type: "email", optional: true },
  note: { type: "string", nullable: true },
  bio: { type: "string", nullable: true, optional: true },
  kind: { type: "enum", values: ["a", "b"] },
  count: { type: "number", default: 20 },
  isOpen: { type: "boolean" },
  tags: { type: "array", items: { type: "string" } },
  maybeTags: { type: "array", items: { type: "string", nullable: true } },
  owner: { type: "object", props: { name: { type: "string" }, age: { type: "number", optional: true } } },
  other: { type: "any" },
} as const;

interface Expected {
  id: string;
  email?: string;
  note: string | null;
  bio?: string | null;
  kind: "a" | "b";
  count: number;
  isOpen: boolean;
  tags: string[];
  maybeTags: (string | null)[];
  owner: { name: string; age?: number };
  other: unknown;
}

// The members of both are the same, and none of them is `any`.
type Params = Infer<typeof rules>;
true satisfies Equal<keyof Params, keyof Expected>;
true satisfies Equal<{ [K in keyof Params]: Params[K] }, { [K in keyof Expected]: Expected[K] }>;

export const valid: Params = {
  id: "1",
  note: null,
  kind: "a",
  count: 1,
  isOpen: true,
  tags: [],
  maybeTags: [null],
  owner: { name: "Ada" },
  other: Symbol("anything"),
};

export const invalid: Params[] = [
  // @ts-expect-error: optional is not nullable
  { ...valid, email: null },
  // @ts-expect-error: optional is absent, not undefined
  { ...valid, bio: undefined },
  // @ts-expect-error: not one of the values
  { ...valid, kind: "c" },
  // @ts-expect-error: not a number
  { ...valid, count: "1" },
  // @ts-expect-error: an item of another type
  { ...valid, tags: [1] },
  // @ts-expect-error: a member of another type, one level down
  { ...valid, owner: { name: 1 } },
  // @ts-expect-error: not known
  { ...valid, shoeSize: 38 },
];

// What the rules of users come to.
true satisfies Equal<NewUser, Infer<typeof createUserParams>>;
true satisfies Equal<NewUser["email"], string>;
true satisfies Equal<NewUser["firstName"], string>;
true satisfies Equal<NewUser["bio"], string | null | undefined>;
true satisfies Equal<UserChanges["firstName"], string | undefined>;
true satisfies Equal<UserChanges["nickname"], string | null | undefined>;
true satisfies Equal<ListUsers["limit"], number>;
true satisfies Equal<ListUsers["sort"], "createdAt" | "-createdAt" | "lastName" | "-lastName">;
