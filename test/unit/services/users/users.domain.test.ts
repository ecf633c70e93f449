import { describe, expect, test } from "@jest/globals";
import fc from "fast-check";

import { normaliseEmail, type NewUser } from "../../../../services/users/users.contract.ts";
import {
  applyChanges,
  changedFields,
  changesTo,
  createUser,
  requireLiveUser,
  requireRestorable,
  requireUser,
  RESTORE_WINDOW_DAYS,
  toFilter,
  toProfile,
  toUser,
  type Profile,
  type UserRecord,
} from "../../../../services/users/users.domain.ts";

const ID = "01890a5d-ac96-774b-bcce-b302099a8057";
const NOW = new Date("2030-06-15T12:00:00.000Z");
const NOW_TEXT = NOW.toISOString();
const LONG_AGO = "1970-01-01T00:00:00.000Z";
const DAY_MS = 86_400_000;
const ADA: NewUser = { email: "Ada@Example.com", firstName: "Ada", lastName: "Lovelace" };

const aUser = (changes: Partial<UserRecord> = {}): UserRecord => ({
  ...createUser(ID, ADA, "user", NOW),
  ...changes,
});

const profile: fc.Arbitrary<Profile> = fc.record({
  email: fc.emailAddress().map(normaliseEmail),
  firstName: fc.string(),
  lastName: fc.string(),
  nickname: fc.option(fc.string()),
  country: fc.option(fc.constantFrom("DE", "GB")),
  bio: fc.option(fc.string()),
});

describe("an email address", () => {
  test("is stored in small letters, composed, without white space around it", () => {
    expect(normaliseEmail(" Ada@EXAMPLE.com\n")).toBe("ada@example.com");
    expect(normaliseEmail("JOSE\u0301@example.com")).toBe("jos\u00e9@example.com");
  });

  test("in its stored form stays as it is", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (text) => {
        const stored = normaliseEmail(text);
        expect(normaliseEmail(stored)).toBe(stored);
      }),
      { numRuns: 2000 },
    );
  });

  test("is the same composed and decomposed, for every letter with marks", () => {
    for (let code = 0xc0; code < 0x2000; code += 1) {
      const letter = String.fromCharCode(code);
      expect(normaliseEmail(letter.normalize("NFD"))).toBe(normaliseEmail(letter));
    }
  });

  test("is the same when a capital with a mark has no composed form", () => {
    expect(normaliseEmail("J\u030c@example.com")).toBe(normaliseEmail("\u01f0@example.com"));
  });

  test("is composed only while it has no more characters than an address may have", () => {
    const [longest, tooLong] = [254, 255].map((length) => "e\u0301".padEnd(length, "x")) as [string, string];
    expect(normaliseEmail(` ${longest} `)).toBe(longest.normalize("NFC"));
    expect(normaliseEmail(tooLong)).toBe(tooLong);
  });
});

describe("a new user", () => {
  test("is active, an ordinary user, and at version 1", () => {
    expect(toUser(createUser(ID, { ...ADA, country: "GB" }, "user", NOW))).toEqual({
      id: ID,
      email: "ada@example.com",
      firstName: "Ada",
      lastName: "Lovelace",
      nickname: null,
      country: "GB",
      bio: null,
      imageUrls: [],
      avatarUrl: null,
      role: "user",
      status: "active",
      version: 1,
      createdAt: "2030-06-15T12:00:00.000Z",
      updatedAt: "2030-06-15T12:00:00.000Z",
    });
  });

  test("takes nothing from its parameters but the profile", () => {
    const params = { ...ADA, password: "a secret", role: "admin", id: "mine", version: 7, deletedAt: NOW };
    const user = createUser(ID, params, "user", NOW);
    expect(user).toMatchObject({ id: ID, role: "user", version: 1, deletedAt: null });
    expect(Object.keys(user)).not.toContain("password");
  });
});

describe("a profile", () => {
  test("has null for what was left out", () => {
    expect(toProfile(ADA)).toEqual({
      email: "ada@example.com",
      firstName: "Ada",
      lastName: "Lovelace",
      nickname: null,
      country: null,
      bio: null,
    });
  });
});

describe("a user as callers see it", () => {
  test("is deleted when it has a time of deletion, whatever its status was", () => {
    expect(toUser(aUser({ deletedAt: NOW_TEXT })).status).toBe("deleted");
    expect(toUser(aUser({ deletedAt: NOW_TEXT, status: "suspended" })).status).toBe("deleted");
    expect(toUser(aUser({ status: "suspended" })).status).toBe("suspended");
  });

  test("has no member that is internal", () => {
    const record = { ...aUser(), passwordHash: "secret" };
    expect(Object.keys(toUser(record))).toEqual(Object.keys(toUser(aUser())));
    expect(toUser(record)).not.toHaveProperty("deletedAt");
  });
});

describe("the changes to a user", () => {
  test("are the fields that differ from what is stored", () => {
    const record = aUser({ nickname: "Countess", bio: null });
    const wanted = { firstName: "Ada", lastName: "King", nickname: null, bio: "" };
    expect(changesTo(record, wanted)).toEqual({ lastName: "King", nickname: null, bio: "" });
  });

  test("do not include an address that is written otherwise", () => {
    expect(changesTo(aUser(), { email: " ADA@example.com" })).toEqual({});
  });

  test("include an address in its stored form", () => {
    expect(changesTo(aUser(), { email: "Countess@Example.com" })).toEqual({ email: "countess@example.com" });
  });

  test("leave out what is undefined", () => {
    expect(changesTo(aUser({ nickname: "x" }), { nickname: undefined } as object)).toEqual({});
  });

  test("are named as the representation names them", () => {
    expect(changedFields({ lastName: "King", deletedAt: NOW_TEXT })).toEqual(["lastName", "status"]);
  });

  test("lead from any profile to any other, and then to nothing more", () => {
    fc.assert(
      fc.property(profile, profile, (from, to) => {
        const record = aUser(from);
        const changed = applyChanges(record, changesTo(record, to), NOW);
        expect(changed).toMatchObject(to);
        expect(changesTo(changed, to)).toEqual({});
      }),
    );
  });

  test("give the next version and the time of the change, and touch nothing else", () => {
    const record = aUser({ version: 41, createdAt: LONG_AGO, updatedAt: LONG_AGO });
    expect(applyChanges(record, { nickname: "Countess" }, NOW)).toEqual({
      ...record,
      nickname: "Countess",
      version: 42,
      updatedAt: NOW_TEXT,
    });
  });
});

describe("a user that is to be changed", () => {
  test("must be there", () => {
    expect(() => requireUser(null, "17")).toThrow(expect.objectContaining({ type: "USER_NOT_FOUND" }));
    expect(() => requireUser(aUser({ deletedAt: NOW_TEXT }), "17")).not.toThrow();
  });

  test("must not be deleted where only live ones count, and is then as if it were not there", () => {
    const record = aUser({ deletedAt: NOW_TEXT });
    expect(() => requireLiveUser(record, "17", [99])).toThrow(
      expect.objectContaining({ type: "USER_NOT_FOUND" }),
    );
    expect(() => requireLiveUser(null, "17")).toThrow(expect.objectContaining({ type: "USER_NOT_FOUND" }));
    expect(() => requireLiveUser(aUser(), "17")).not.toThrow();
  });

  test.each([undefined, [3], [1, 3]])("may have one of the versions %j at version 3", (expected) => {
    expect(() => requireLiveUser(aUser({ version: 3 }), "17", expected)).not.toThrow();
  });

  test.each([[[2]], [[1, 2, 4]], [[]]])("must have one of the versions %j, which 3 is not", (expected) => {
    expect(() => requireLiveUser(aUser({ version: 3 }), "17", expected)).toThrow(
      expect.objectContaining({ type: "PRECONDITION_FAILED", data: { detail: "The current version is 3." } }),
    );
  });
});

describe("a deleted user", () => {
  const deletedAgo = (ms: number) => aUser({ deletedAt: new Date(NOW.getTime() - ms).toISOString() });

  test("can be restored for 30 days, to the millisecond", () => {
    expect(RESTORE_WINDOW_DAYS).toBe(30);
    expect(() => requireRestorable(deletedAgo(30 * DAY_MS), NOW)).not.toThrow();
    expect(() => requireRestorable(deletedAgo(30 * DAY_MS + 1), NOW)).toThrow(
      expect.objectContaining({ type: "RESTORE_WINDOW_CLOSED" }),
    );
  });

  test("can be restored at once, also by a node whose clock is behind", () => {
    expect(() => requireRestorable(deletedAgo(0), NOW)).not.toThrow();
    expect(() => requireRestorable(deletedAgo(-5000), NOW)).not.toThrow();
  });

  test("cannot be restored when it is not deleted", () => {
    expect(() => requireRestorable(aUser(), NOW)).toThrow(
      expect.objectContaining({ type: "USER_NOT_DELETED" }),
    );
  });
});

describe("a filter", () => {
  test("has what was asked for, in the form in which it is stored", () => {
    const params = { country: "DE", status: "active", email: "ADA@example.com", q: "lo" } as const;
    expect(toFilter(params)).toEqual({ country: "DE", status: "active", email: "ada@example.com", q: "lo" });
  });

  test("has nothing of the paging, so that it is the same for all pages", () => {
    expect(toFilter({ limit: 20, sort: "createdAt", cursor: "x" })).toEqual({});
  });

  test.each([
    ["2030-01-31T12:00:00Z", "2030-01-31T12:00:00.000Z"],
    ["2030-01-31T12:00Z", "2030-01-31T12:00:00.000Z"],
    ["2030-01-31T12:00:00.123456789Z", "2030-01-31T12:00:00.123Z"],
    ["2030-01-31T23:30:00+05:30", "2030-01-31T18:00:00.000Z"],
    ["2030-01-31T23:30:00-05:00", "2030-02-01T04:30:00.000Z"],
    ["2028-02-29T00:00:00Z", "2028-02-29T00:00:00.000Z"],
    ["1000-01-01T00:00:00Z", "1000-01-01T00:00:00.000Z"],
  ])("takes the date %s as %s", (text, time) => {
    expect(toFilter({ createdAfter: text, createdBefore: text })).toEqual({
      createdAfter: new Date(time),
      createdBefore: new Date(time),
    });
  });

  test.each([
    "2030-02-30T00:00:00Z",
    "2030-02-29T00:00:00+02:00",
    "2030-13-01T00:00:00Z",
    "2030-00-10T00:00:00Z",
    "2030-04-31T00:00:00Z",
    "2030-01-32T00:00:00Z",
    "2030-01-01T25:00:00Z",
    "2030-01-01T24:00:01Z",
    "2030-01-01T10:60:00Z",
    "2030-01-01T10:00:61Z",
    "2030-01-01T10:00:00+24:00",
    "2030-01-01T10:00:00+99:99",
  ])("refuses %s, which no calendar has, and names the field", (text) => {
    for (const field of ["createdAfter", "createdBefore"]) {
      expect(() => toFilter({ [field]: text })).toThrow(
        expect.objectContaining({
          type: "VALIDATION_FAILED",
          data: { errors: [expect.objectContaining({ field, rule: "date" })] },
        }),
      );
    }
  });
});
