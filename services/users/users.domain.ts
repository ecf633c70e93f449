import { absenceOf, entryOf, type CacheEntry } from "../../broker/cache/entry.ts";
import { invalidField } from "../../broker/errors.ts";
import type { Principal } from "../../lib/principal.ts";
import {
  normaliseEmail,
  type ListUsers,
  type NewUser,
  type User,
  type UserChanges,
  type UserRole,
} from "./users.contract.ts";
import {
  onlyAdminsGive,
  restoreWindowClosed,
  userNotDeleted,
  userNotFound,
  versionMismatch,
} from "./users.errors.ts";

/** How long a deleted user can be restored. */
export const RESTORE_WINDOW_DAYS = 30;

const DAY_MS = 86_400_000;

/** A user as it is stored. */
export interface UserRecord extends Omit<User, "status"> {
  status: "active" | "suspended";
  /** As all times of a user: ISO 8601 in UTC. */
  deletedAt: string | null;
}

/** The fields that a client sets. */
export type Profile = Pick<UserRecord, "email" | "firstName" | "lastName" | "nickname" | "country" | "bio">;

/** Any part of a record that a change may set; version and time of change are not among it. */
export type RecordChanges = Partial<Omit<UserRecord, "id" | "version" | "createdAt" | "updatedAt">>;

/** The representation of a record: everything but what is internal. */
export function toUser(record: UserRecord): User {
  return {
    id: record.id,
    email: record.email,
    firstName: record.firstName,
    lastName: record.lastName,
    nickname: record.nickname,
    country: record.country,
    bio: record.bio,
    imageUrls: record.imageUrls,
    avatarUrl: record.avatarUrl,
    role: record.role,
    status: record.deletedAt ? "deleted" : record.status,
    version: record.version,
    createdAt: record.createdAt,
    updatedAt: record.updatedAt,
  };
}

/** What `users.get` answers now that a user is like this. */
export function currentReading(user: User): CacheEntry | undefined {
  return user.status === "deleted" ? absent(user.id, user.version) : entryOf(user);
}

/** What `users.get` answers now that there is no such user any more. */
export function absent(id: string, version: number): CacheEntry | undefined {
  return absenceOf(userNotFound(id), version);
}

/** A whole profile; what the client left out is null. */
export function toProfile(params: NewUser): Profile {
  const { firstName, lastName, nickname = null, country = null, bio = null } = params;
  return { email: normaliseEmail(params.email), firstName, lastName, nickname, country, bio };
}

export function createUser(id: string, params: NewUser, role: UserRole, now: Date): UserRecord {
  const createdAt = now.toISOString();
  return {
    ...toProfile(params),
    id,
    imageUrls: [],
    avatarUrl: null,
    role,
    status: "active",
    version: 1,
    createdAt,
    updatedAt: createdAt,
    deletedAt: null,
  };
}

/** The part of `wanted` that differs from what is stored. */
export function changesTo(
  record: UserRecord,
  wanted: UserChanges & Partial<Pick<UserRecord, "status">>,
): RecordChanges {
  const normalised = wanted.email === undefined ? wanted : { ...wanted, email: normaliseEmail(wanted.email) };
  return Object.fromEntries(
    Object.entries(normalised).filter(
      ([field, value]) => value !== undefined && value !== record[field as keyof Profile],
    ),
  );
}

/** The part of what a user shows of its images that differs from what is stored. */
export function changesToShown(
  record: UserRecord,
  { imageUrls, avatarUrl }: Pick<UserRecord, "imageUrls" | "avatarUrl">,
): RecordChanges {
  const isSame =
    imageUrls.length === record.imageUrls.length &&
    imageUrls.every((url, index) => url === record.imageUrls[index]);
  return { ...(!isSame && { imageUrls }), ...(avatarUrl !== record.avatarUrl && { avatarUrl }) };
}

/** The next version of a record. */
export function applyChanges(record: UserRecord, changes: RecordChanges, now: Date): UserRecord {
  return { ...record, ...changes, version: record.version + 1, updatedAt: now.toISOString() };
}

/** Whether a user has to log in anew: its tokens say which role it has, and who is suspended or deleted has none. */
export function endsSessions({ role, status, deletedAt = null }: RecordChanges): boolean {
  return role !== undefined || status === "suspended" || deletedAt !== null;
}

/** The fields of the representation that a change sets: deleting and restoring a user show in its status. */
export function changedFields(changes: RecordChanges): string[] {
  return Object.keys(changes).map((field) => (field === "deletedAt" ? "status" : field));
}

/**
 * Checks that a record is there for a change and has one of the versions that the client expects.
 *
 * @throws USER_NOT_FOUND, PRECONDITION_FAILED
 */
export function requireUser(
  record: UserRecord | null,
  id: string,
  expectedVersions?: readonly number[],
): asserts record is UserRecord {
  if (!record) throw userNotFound(id);
  if (expectedVersions && !expectedVersions.includes(record.version)) throw versionMismatch(record.version);
}

/** As {@link requireUser}, and the user must not be deleted. */
export function requireLiveUser(
  record: UserRecord | null,
  id: string,
  expectedVersions?: readonly number[],
): asserts record is UserRecord {
  requireUser(record?.deletedAt ? null : record, id, expectedVersions);
}

/**
 * Lets only admins and services decide whose an account is where an external issuer vouches for addresses, which we do
 * not verify: who changes the address of an account gives it away, who makes one with a password keeps a way in to it.
 *
 * @throws FORBIDDEN
 */
export function requireAdmin(principal: Principal | undefined, field: "email" | "password"): void {
  const isAdmin = principal?.kind === "user" && principal.role === "admin";
  if (!isAdmin && principal?.kind !== "service") throw onlyAdminsGive(field);
}

/** @throws USER_NOT_DELETED, RESTORE_WINDOW_CLOSED */
export function requireRestorable(record: UserRecord, now: Date): void {
  if (!record.deletedAt) throw userNotDeleted(record.id);
  if (now.getTime() - Date.parse(record.deletedAt) > RESTORE_WINDOW_DAYS * DAY_MS) {
    throw restoreWindowClosed(RESTORE_WINDOW_DAYS);
  }
}

/** What a list selects, without its paging; also what its cursors are bound to. */
export interface UserFilter {
  country?: string;
  status?: "active" | "suspended" | "deleted";
  email?: string;
  /** Exclusive. */
  createdAfter?: Date;
  /** Exclusive. */
  createdBefore?: Date;
  /** Prefix of first name, last name or email, in any letter case. */
  q?: string;
}

/** @throws VALIDATION_FAILED for a date that no calendar has */
export function toFilter({
  country,
  status,
  email,
  createdAfter,
  createdBefore,
  q,
}: Partial<ListUsers>): UserFilter {
  return {
    ...(country !== undefined && { country }),
    ...(status !== undefined && { status }),
    ...(email !== undefined && { email: normaliseEmail(email) }),
    ...(createdAfter !== undefined && { createdAfter: toDate("createdAfter", createdAfter) }),
    ...(createdBefore !== undefined && { createdBefore: toDate("createdBefore", createdBefore) }),
    ...(q !== undefined && { q }),
  };
}

function toDate(field: string, text: string): Date {
  const date = new Date(text);
  // `new Date` moves the 30th of February to March; a date that changes is not a date.
  const isOnCalendar = !Number.isNaN(date.getTime()) && isRealDay(text);
  if (!isOnCalendar)
    throw invalidField(field, "date", `The '${field}' field must be a date and time that exists.`);
  return date;
}

function isRealDay(text: string): boolean {
  const day = text.slice(0, 10);
  return new Date(`${day}T00:00:00Z`).toISOString().startsWith(day);
}
