import { describe, expect, test } from "@jest/globals";
import fc from "fast-check";

import { COUNTRY_CODES } from "../../../../lib/countries.ts";
import {
  changeUserParams,
  createUserParams,
  getUserByEmailParams,
  getUserParams,
  listUsersParams,
  replaceUserParams,
  updateUserParams,
} from "../../../../services/users/users.contract.ts";
import { check } from "../../../support/validation.ts";

const ID = "01890a5d-ac96-774b-bcce-b302099a8057";
const NEW_USER = { email: "ada@example.com", firstName: "Ada", lastName: "Lovelace" };

/** What becomes of one field of a new user; undefined when it is refused for the rule that `rule` names. */
function accepted(field: string, value: unknown): unknown {
  const { params, errors } = check(createUserParams, { ...NEW_USER, [field]: value });
  return errors.length === 0 ? params[field] : undefined;
}

function rulesBrokenBy(rules: object, params: object): string[] {
  return check(rules, params).errors.map(({ field, rule }) => `${field} ${rule}`);
}

const newUserWith = (field: string, value: unknown) =>
  rulesBrokenBy(createUserParams, { ...NEW_USER, [field]: value });

describe("an email address", () => {
  test.each([
    ["ada@example.com", "ada@example.com"],
    ["  Ada@EXAMPLE.com\t", "ada@example.com"],
    ["a@b.cd", "a@b.cd"],
    ["first.last+tag@sub.example.co.uk", "first.last+tag@sub.example.co.uk"],
    ["o'brien!#$%&*/=?^_`{|}~-@example.com", "o'brien!#$%&*/=?^_`{|}~-@example.com"],
    ["ada@xn--bcher-kva.example", "ada@xn--bcher-kva.example"],
    ["ada@bücher.example", "ada@bücher.example"],
    ["δοκιμή@παράδειγμα.δοκιμή", "δοκιμή@παράδειγμα.δοκιμή"],
    ["用户@例子.广告", "用户@例子.广告"],
    ["संपर्क@डाटामेल.भारत", "संपर्क@डाटामेल.भारत"],
    ["1@2.34", "1@2.34"],
    [`${"a".repeat(64)}@example.com`, `${"a".repeat(64)}@example.com`],
    [`a@${"b".repeat(63)}.com`, `a@${"b".repeat(63)}.com`],
  ])("%j is taken as %j", (given, taken) => {
    expect(accepted("email", given)).toBe(taken);
  });

  test.each([
    "ada",
    "@example.com",
    "ada@",
    "ada@example",
    "ada@.com",
    "ada@example.",
    "ada@example..com",
    "ada@-example.com",
    "ada@example-.com",
    "ada@example.c",
    "ada@exa_mple.com",
    "ada@example.com, eve@example.com",
    "ada@eve@example.com",
    "ada lovelace@example.com",
    '"ada lovelace"@example.com',
    "ada@[127.0.0.1]",
    "ada@example.com\u0000",
    "ada\u0000@example.com",
    "ada\n@example.com",
    "ada@example.com\r\nBcc: eve@example.com",
    "<ada@example.com>",
    "ada\u200b@example.com",
    "ada\u202e@example.com",
    "\ud800@example.com",
    `${"a".repeat(65)}@example.com`,
    `a@${"b".repeat(64)}.com`,
  ])("%j is refused", (email) => {
    expect(newUserWith("email", email)).toContain("email stringPattern");
  });

  test("of more than 254 characters is refused", () => {
    const email = `a@${`${"b".repeat(62)}.`.repeat(4)}com`;
    expect(email).toHaveLength(257);
    expect(newUserWith("email", email)).toEqual(["email stringMax"]);
  });

  test("is looked up in the form in which it is stored", () => {
    const { params } = check(getUserByEmailParams, { email: " Ada@Example.COM " });
    expect(params).toEqual({ email: "ada@example.com" });
  });
});

describe.each([
  ["firstName", 100],
  ["lastName", 100],
  ["nickname", 50],
])("%s", (field, max) => {
  test.each([
    "Ada",
    "O'Brien-Smith Jr.",
    "Žofia Ñáñez",
    "محمد",
    "山田太郎",
    "e\u0301 as it was typed",
    "می\u200cخواهم",
    "👩‍👩‍👧‍👦",
    "<script>alert(1)</script>",
    "Robert'); DROP TABLE users;--",
    "null",
  ])("keeps %j as it is", (value) => {
    expect(accepted(field, value)).toBe(value);
  });

  test("loses white space at its ends and none within", () => {
    expect(accepted(field, " \t\u00a0\u3000Ada  King\n")).toBe("Ada  King");
  });

  test.each(["", " ", "\n\t", "\u00a0\u2003\ufeff"])("%j is too short", (value) => {
    expect(newUserWith(field, value)).toEqual([`${field} stringMin`]);
  });

  test.each([
    "A\u0000da",
    "A\nda",
    "A\u0007da",
    "A\u001bda",
    "A\u007fda",
    "A\u0085da",
    "\u009bda",
    "A\ud800da",
    "\udc00",
  ])("%j is refused", (value) => {
    expect(newUserWith(field, value)).toEqual([`${field} stringPattern`]);
  });

  test(`takes ${max} characters, not more`, () => {
    expect(accepted(field, "x".repeat(max))).toHaveLength(max);
    expect(newUserWith(field, "x".repeat(max + 1))).toEqual([`${field} stringMax`]);
  });

  test.each([1, true, {}, [], ["Ada"]])("is refused when it is %j", (value) => {
    expect(newUserWith(field, value)).toEqual([`${field} string`]);
  });
});

describe("bio", () => {
  test("keeps lines and white space", () => {
    expect(accepted("bio", "  First\r\n\tsecond \n")).toBe("  First\r\n\tsecond \n");
  });

  test("may be empty and have 2,000 characters, not more", () => {
    expect(accepted("bio", "")).toBe("");
    expect(accepted("bio", "x".repeat(2000))).toHaveLength(2000);
    expect(newUserWith("bio", "x".repeat(2001))).toEqual(["bio stringMax"]);
  });

  test.each(["a\u0000b", "a\u000bb", "a\u001bb", "a\u009fb", "a\udfffb"])("%j is refused", (value) => {
    expect(newUserWith("bio", value)).toEqual(["bio stringPattern"]);
  });
});

describe("country", () => {
  test("is each code of ISO 3166-1", () => {
    for (const code of COUNTRY_CODES) expect(accepted("country", code)).toBe(code);
  });

  test.each(["de", "XX", "UK", "EU", "DEU", "D", "", " DE", "Germany"])("%j is refused", (value) => {
    expect(newUserWith("country", value)).toEqual(["country enumValue"]);
  });

  test("is refused when it is no text", () => {
    expect(newUserWith("country", ["DE"])).toEqual(["country enumValue"]);
    expect(newUserWith("country", 49)).toEqual(["country enumValue"]);
  });
});

describe("a new user", () => {
  test("needs an email address, a first and a last name, and nothing more", () => {
    expect(check(createUserParams, NEW_USER)).toEqual({ params: NEW_USER, errors: [] });
    const required = ["email required", "firstName required", "lastName required"];
    expect(rulesBrokenBy(createUserParams, {})).toEqual(required);
    expect(rulesBrokenBy(createUserParams, { email: null, firstName: null, lastName: null })).toEqual(
      required,
    );
  });

  test("may have null for what it need not have", () => {
    const empty = { nickname: null, country: null, bio: null };
    expect(check(createUserParams, { ...NEW_USER, ...empty }).errors).toEqual([]);
  });

  test.each([
    "id",
    "role",
    "status",
    "version",
    "createdAt",
    "deletedAt",
    "imageUrls",
    "password_hash",
    "toString",
  ])("may not bring %s", (field) => {
    expect(newUserWith(field, "x")).toEqual([`${field} unknown`]);
  });

  test("may not bring __proto__ or constructor", () => {
    const params = JSON.parse(`{"__proto__": {"role": "admin"}, "constructor": 1}`) as object;
    const { errors } = check(
      createUserParams,
      Object.defineProperties({ ...NEW_USER }, Object.getOwnPropertyDescriptors(params)),
    );
    expect(errors.map(({ field }) => field)).toEqual(["__proto__", "constructor"]);
  });

  test("is refused for all that is wrong at once", () => {
    expect(
      rulesBrokenBy(createUserParams, { email: "ada@", firstName: "", country: "xx", shoeSize: 38 }),
    ).toEqual([
      "email stringPattern",
      "firstName stringMin",
      "lastName required",
      "country enumValue",
      "shoeSize unknown",
    ]);
  });
});

describe("a change", () => {
  test("of a whole user needs what a new one needs", () => {
    expect(rulesBrokenBy(replaceUserParams, { id: ID })).toEqual([
      "email required",
      "firstName required",
      "lastName required",
    ]);
  });

  test("may set any field alone, or none", () => {
    expect(check(updateUserParams, { id: ID }).errors).toEqual([]);
    expect(check(updateUserParams, { id: ID, firstName: "Ada" }).errors).toEqual([]);
  });

  test("may clear with null only what a user need not have", () => {
    const everything = {
      email: null,
      firstName: null,
      lastName: null,
      nickname: null,
      country: null,
      bio: null,
    };
    expect(rulesBrokenBy(updateUserParams, { id: ID, ...everything })).toEqual([
      "email required",
      "firstName required",
      "lastName required",
    ]);
  });

  test("may not change what is not the client's to set", () => {
    expect(rulesBrokenBy(updateUserParams, { id: ID, version: 2, status: "active" })).toEqual([
      "version unknown",
      "status unknown",
    ]);
    expect(rulesBrokenBy(changeUserParams, { id: ID, nickname: "x" })).toEqual(["nickname unknown"]);
  });

  test.each([[[1]], [[1, 2_147_483_647]], [[]]])("may expect the versions %j", (expectedVersions) => {
    expect(check(changeUserParams, { id: ID, expectedVersions }).errors).toEqual([]);
  });

  test.each([[[0]], [["1"]], [[1.5]], [[2_147_483_648]], [1], [null], [[null]]])(
    "may not expect the versions %j",
    (expectedVersions) => {
      expect(check(changeUserParams, { id: ID, expectedVersions }).errors).not.toEqual([]);
    },
  );
});

describe("an id", () => {
  test.each([ID, ID.toUpperCase(), "00000000-0000-4000-8000-000000000000"])("%s is taken", (id) => {
    expect(check(getUserParams, { id }).errors).toEqual([]);
  });

  test.each([
    "",
    "1",
    "me",
    `${ID}0`,
    ID.replaceAll("-", ""),
    `{${ID}}`,
    `${ID}\n`,
    "../users",
    1,
    null,
    undefined,
    [ID],
  ])("%j is refused", (id) => {
    expect(check(getUserParams, { id }).errors).toMatchObject([{ field: "id" }]);
  });
});

describe("a list", () => {
  test("has 20 users, the newest first, unless it is asked for otherwise", () => {
    expect(check(listUsersParams, {}).params).toEqual({ limit: 20, sort: "-createdAt" });
  });

  test.each([
    ["1", 1],
    ["100", 100],
    [50, 50],
  ])("takes the limit %j as a number", (limit, number) => {
    expect(check(listUsersParams, { limit }).params).toMatchObject({ limit: number });
  });

  test.each(["0", "101", "-1", "1.5", "", "ten", "1e9", "NaN", "Infinity", {}])(
    "refuses the limit %j",
    (limit) => {
      expect(check(listUsersParams, { limit }).errors).toMatchObject([{ field: "limit" }]);
    },
  );

  test.each(["createdAt", "-createdAt", "lastName", "-lastName"])("may be sorted by %s", (sort) => {
    expect(check(listUsersParams, { sort }).errors).toEqual([]);
  });

  test.each(["email", "+createdAt", "createdat", "", "lastName;DROP TABLE"])(
    "may not be sorted by %j",
    (sort) => {
      expect(rulesBrokenBy(listUsersParams, { sort })).toEqual(["sort enumValue"]);
    },
  );

  test.each([
    "2030-01-31T12:00Z",
    "2030-01-31T12:00:00Z",
    "2030-01-31T12:00:00.123456789Z",
    "2030-01-31T12:00:00+05:30",
  ])("takes the date %s", (date) => {
    expect(check(listUsersParams, { createdAfter: date, createdBefore: date }).errors).toEqual([]);
  });

  test.each([
    "2030-01-31",
    "2030-01-31T12:00:00",
    "2030-01-31 12:00:00Z",
    "1893456000",
    "now",
    "+012030-01-31T12:00Z",
    "",
  ])("refuses the date %j", (date) => {
    expect(rulesBrokenBy(listUsersParams, { createdAfter: date })).toEqual(["createdAfter stringPattern"]);
  });

  test("refuses filters that it does not have", () => {
    expect(rulesBrokenBy(listUsersParams, { role: "admin", "email[$ne]": "x", offset: "1" })).toEqual([
      "role unknown",
      "email[$ne] unknown",
      "offset unknown",
    ]);
  });

  test("refuses values of filters that no user has", () => {
    const params = { country: "xx", status: "gone", email: "ada", q: "\u0000" };
    expect(rulesBrokenBy(listUsersParams, params)).toEqual([
      "country enumValue",
      "status enumValue",
      "email stringPattern",
      "q stringPattern",
    ]);
  });
});

describe("what is accepted", () => {
  test("never holds a control character or half of a surrogate pair", () => {
    const text = fc.string({ unit: "binary", maxLength: 30 });
    // Mostly a valid text with something put into it, as nearly every other text is refused.
    const spoilt = fc
      .tuple(fc.constantFrom("ada@example.com", "Ada", "山田"), fc.nat(20), fc.oneof(text, lonely()))
      .map(([valid, at, added]) => valid.slice(0, at) + added + valid.slice(at));
    fc.assert(
      fc.property(fc.constantFrom("email", "firstName", "nickname", "bio"), spoilt, (field, value) => {
        const taken = accepted(field, value);
        const isBad = field === "bio" ? /[^\P{Cc}\n\r\t]|\p{Cs}/u : /[\p{Cc}\p{Cs}]/u;
        expect(String(taken)).not.toMatch(isBad);
      }),
      { numRuns: 2000 },
    );
  });

  test("is accepted again, and stays as it is", () => {
    const value = fc.string({ unit: "grapheme", maxLength: 60 });
    fc.assert(
      fc.property(value, value, (firstName, bio) => {
        const once = check(createUserParams, { ...NEW_USER, firstName, bio });
        fc.pre(once.errors.length === 0);
        expect(check(createUserParams, once.params)).toEqual(once);
      }),
    );
  });
});

/** A control character or half of a surrogate pair. */
function lonely(): fc.Arbitrary<string> {
  const ranges = [
    fc.integer({ min: 0, max: 0x1f }),
    fc.integer({ min: 0x7f, max: 0x9f }),
    fc.integer({ min: 0xd800, max: 0xdfff }),
  ];
  return fc.oneof(...ranges).map((code) => String.fromCharCode(code));
}
