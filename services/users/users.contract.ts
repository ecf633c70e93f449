import type { CloudEvent } from "../../lib/cloud-event.ts";
import { COUNTRY_CODES } from "../../lib/countries.ts";
import { EMAIL_ADDRESS, EMAIL_ADDRESS_MAX_LENGTH } from "../../lib/email-address.ts";
import type { HealthReport } from "../../lib/health.ts";
import type { Infer } from "../../lib/validation.ts";
import type { AuthExport } from "../auth/auth.contract.ts";
import type { ImagePage } from "../images/images.contract.ts";

/** A user as every caller sees it. Dates are ISO 8601 in UTC. */
export interface User {
  id: string;
  email: string;
  firstName: string;
  lastName: string;
  nickname: string | null;
  /** ISO 3166-1 alpha-2. */
  country: string | null;
  bio: string | null;
  imageUrls: string[];
  avatarUrl: string | null;
  role: UserRole;
  status: UserStatus;
  /** Starts at 1 and grows by one with every change. */
  version: number;
  createdAt: string;
  updatedAt: string;
}

export type UserRole = "user" | "admin";
export type UserStatus = "active" | "suspended" | "deleted";

/** A page of users; `nextCursor` is null on the last one. */
export interface UserPage {
  data: User[];
  nextCursor: string | null;
}

/** Everything that is kept about a user. */
export interface UserExport {
  user: User;
  auth: AuthExport;
  /** The newest images; `nextCursor` is for the list of them. Null where there is no service of images. */
  images: ImagePage | null;
  /** The events about the user, the oldest first. */
  events: CloudEvent[];
  /** `eventsAfter` of the next part; null when no event is missing. Only a user with hundreds of events has one. */
  nextEventsAfter: number | null;
}

/** One change of a user. */
export interface HistoryEntry {
  time: string;
  /** Type of its event. */
  type: string;
  /** Who made it: see `actorOf`. */
  actor: string;
  changedFields: string[];
  /** Of the user after the change; null when the change was of something that belongs to it, as a password. */
  version: number | null;
  requestId: string;
}

/** A page of the changes of a user, the oldest first; `nextCursor` is null on the last one. */
export interface HistoryPage {
  data: HistoryEntry[];
  nextCursor: string | null;
}

export const USER_SORTS = ["createdAt", "-createdAt", "lastName", "-lastName"] as const;
export type UserSort = (typeof USER_SORTS)[number];

// Control characters would break terminals, logs and XML; lone surrogates cannot be stored as UTF-8.
const ONE_LINE = /^[^\p{Cc}\p{Cs}]*$/u;
const MANY_LINES = /^(?:[^\p{Cc}\p{Cs}]|[\n\r\t])*$/u;
const ONE_LINE_MESSAGES = { stringPattern: "The '{field}' field must not contain control characters." };

const id = { type: "uuid" } as const;
const email = {
  type: "string",
  trim: true,
  lowercase: true,
  min: 3,
  max: EMAIL_ADDRESS_MAX_LENGTH,
  pattern: EMAIL_ADDRESS,
  messages: { stringPattern: "The '{field}' field must be an email address." },
} as const;

/** The form in which addresses are stored and compared. What is too long for an address has no such form. */
export function normaliseEmail(text: string): string {
  // In this order: a capital with a mark may have no composed form where its small letter has one.
  const lower = text.trim().toLowerCase();
  // To sort marks takes the square of their number: minutes for the body of one request.
  return lower.length > EMAIL_ADDRESS_MAX_LENGTH ? lower : lower.normalize("NFC");
}

const name = {
  type: "string",
  trim: true,
  min: 1,
  max: 100,
  pattern: ONE_LINE,
  messages: ONE_LINE_MESSAGES,
} as const;
const nickname = {
  type: "string",
  trim: true,
  min: 1,
  max: 50,
  pattern: ONE_LINE,
  messages: ONE_LINE_MESSAGES,
  nullable: true,
} as const;
const country = {
  type: "enum",
  values: COUNTRY_CODES,
  nullable: true,
  messages: { enumValue: "The '{field}' field must be an ISO 3166-1 alpha-2 code in capitals." },
} as const;
const bio = {
  type: "string",
  max: 2000,
  pattern: MANY_LINES,
  messages: ONE_LINE_MESSAGES,
  nullable: true,
} as const;

/** The versions of which the current one must be one; absent: any. From `If-Match`. */
const expectedVersions = {
  type: "array",
  items: { type: "number", integer: true, min: 1, max: 2_147_483_647 },
  optional: true,
} as const;

const dateTime = {
  type: "string",
  pattern: /^[1-9]\d{3}-\d\d-\d\dT\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?(?:Z|[+-]\d\d:\d\d)$/,
  messages: { stringPattern: "The '{field}' field must be a date and time such as 2030-01-31T12:00:00Z." },
  optional: true,
} as const;

const profile = {
  email,
  firstName: name,
  lastName: name,
  nickname: { ...nickname, optional: true },
  country: { ...country, optional: true },
  bio: { ...bio, optional: true },
} as const;

/** A password that is going to be one. What its length does not say is said by the auth service. */
export const newPassword = { type: "string", min: 10, max: 256 } as const;

/** The password is never shown, stored as it is, or sent in an event: it goes to the auth service and no further. */
export const createUserParams = {
  $$strict: true,
  ...profile,
  password: { ...newPassword, optional: true },
} as const;
export const getUserParams = { $$strict: true, id } as const;
export const getUserByEmailParams = { $$strict: true, email } as const;
export const replaceUserParams = { $$strict: true, id, expectedVersions, ...profile } as const;
export const updateUserParams = {
  $$strict: true,
  id,
  expectedVersions,
  ...profile,
  email: { ...email, optional: true },
  firstName: { ...name, optional: true },
  lastName: { ...name, optional: true },
  /** Only an admin may give it, and only to somebody else: see the access table. */
  role: { type: "enum", values: ["user", "admin"], optional: true },
} as const;
export const findMissingUsersParams = {
  $$strict: true,
  ids: { type: "array", items: id, max: 100 },
} as const;
/** For actions that take nothing but the user and its expected version. */
export const changeUserParams = { $$strict: true, id, expectedVersions } as const;
export const exportUserParams = {
  $$strict: true,
  id,
  eventsAfter: {
    type: "number",
    integer: true,
    min: 0,
    max: Number.MAX_SAFE_INTEGER,
    convert: true,
    optional: true,
  },
} as const;
const limit = { type: "number", integer: true, min: 1, max: 100, convert: true, default: 20 } as const;
const cursor = { type: "string", min: 1, max: 1000, optional: true } as const;
export const userHistoryParams = { $$strict: true, id, limit, cursor } as const;
export const listUsersParams = {
  $$strict: true,
  limit,
  cursor,
  sort: { type: "enum", values: USER_SORTS, default: "-createdAt" },
  country: { type: "enum", values: COUNTRY_CODES, messages: country.messages, optional: true },
  status: { type: "enum", values: ["active", "suspended", "deleted"], optional: true },
  email: { ...email, optional: true },
  createdAfter: dateTime,
  createdBefore: dateTime,
  q: { ...name, optional: true },
} as const;

export type NewUser = Infer<typeof createUserParams>;
export type UserChanges = Omit<Infer<typeof updateUserParams>, "id" | "expectedVersions">;
export type UserHistory = Infer<typeof userHistoryParams>;
export type ListUsers = Infer<typeof listUsersParams>;

/** Actions of the users service. Every one that changes something is safe to retry: see the unit of work. */
export interface UsersActions {
  "users.health": { params: Record<string, never>; result: HealthReport };
  /** @throws EMAIL_TAKEN, and VALIDATION_FAILED for a common password */
  "users.create": { params: NewUser; result: User };
  /** Internal: a user with the role admin. @throws EMAIL_TAKEN */
  "users.createAdmin": { params: NewUser; result: User };
  /** Internal: which of these ids no user has, not even a deleted one. */
  "users.findMissing": { params: Infer<typeof findMissingUsersParams>; result: string[] };
  /** @throws USER_NOT_FOUND also for a deleted user */
  "users.get": { params: Infer<typeof getUserParams>; result: User };
  /** The user, not deleted, with this address in any letter case. @throws USER_NOT_FOUND */
  "users.getByEmail": { params: Infer<typeof getUserByEmailParams>; result: User };
  /** @throws INVALID_CURSOR */
  "users.list": { params: Partial<ListUsers>; result: UserPage };
  /** Sets every profile field; what is absent becomes null. @throws USER_NOT_FOUND, PRECONDITION_FAILED, EMAIL_TAKEN */
  "users.replace": { params: Infer<typeof replaceUserParams>; result: User };
  /** Sets the given fields; null clears one. @throws USER_NOT_FOUND, PRECONDITION_FAILED, EMAIL_TAKEN */
  "users.update": { params: Infer<typeof updateUserParams>; result: User };
  /** Internal: takes over what the images service says that the user shows. @throws USER_NOT_FOUND */
  "users.showImages": { params: Infer<typeof getUserParams>; result: User };
  /**
   * The user can no longer log in, and is logged out wherever it is. One that is suspended already stays as it is.
   *
   * @throws USER_NOT_FOUND, PRECONDITION_FAILED
   */
  "users.suspend": { params: Infer<typeof changeUserParams>; result: User };
  /** @throws USER_NOT_FOUND, PRECONDITION_FAILED */
  "users.unsuspend": { params: Infer<typeof changeUserParams>; result: User };
  /** Soft: the user can be restored for 30 days. @throws USER_NOT_FOUND, PRECONDITION_FAILED */
  "users.delete": { params: Infer<typeof changeUserParams>; result: null };
  /** @throws USER_NOT_FOUND, PRECONDITION_FAILED, USER_NOT_DELETED, RESTORE_WINDOW_CLOSED, EMAIL_TAKEN */
  "users.restore": { params: Infer<typeof changeUserParams>; result: User };
  /**
   * Removes the user for good, deleted before or not, with its password and sessions. Of the events about it nothing
   * stays but that they were.
   *
   * @throws USER_NOT_FOUND, PRECONDITION_FAILED
   */
  "users.erase": { params: Infer<typeof changeUserParams>; result: null };
  /** Also of a deleted user. @throws USER_NOT_FOUND, EVENTS_EXPIRED */
  "users.export": { params: Infer<typeof exportUserParams>; result: UserExport };
  /**
   * Who changed what when, as far back as the log of events goes; of an erased user, too.
   *
   * @throws USER_NOT_FOUND, INVALID_CURSOR, EVENTS_EXPIRED
   */
  "users.history": { params: Pick<UserHistory, "id"> & Partial<UserHistory>; result: HistoryPage };
}
