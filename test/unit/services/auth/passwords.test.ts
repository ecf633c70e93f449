import { argon2Sync, randomBytes } from "node:crypto";

import { afterEach, describe, expect, test } from "@jest/globals";

import { formatPhc, isOutdated, parsePhc } from "../../../../services/auth/password-hash.ts";
import { PasswordHasher } from "../../../../services/auth/password-hasher.ts";
import { requireUncommon } from "../../../../services/auth/password-rules.ts";

const PASSWORD = "correct horse battery staple";
const hashers: PasswordHasher[] = [];

function createHasher(): PasswordHasher {
  const hasher = new PasswordHasher();
  hashers.push(hasher);
  return hasher;
}

afterEach(() => Promise.all(hashers.splice(0).map((hasher) => hasher.stop())));

describe("a hash", () => {
  test("is that of its password only, and another one each time", async () => {
    const hasher = createHasher();
    const [one, other] = [await hasher.hash(PASSWORD), await hasher.hash(PASSWORD)];

    expect(one).toMatch(/^\$argon2id\$v=19\$m=19456,t=2,p=1\$[\w+/]{22}\$[\w+/]{43}$/);
    expect(one).not.toBe(other);
    expect(await hasher.verify(PASSWORD, one)).toBe(true);
    expect(await hasher.verify("correct horse battery stapler", one)).toBe(false);
    expect(await hasher.verify("", one)).toBe(false);
  });

  test("of nobody is that of no password, at the cost of one hash", async () => {
    const hasher = createHasher();

    expect(await hasher.verify(PASSWORD, undefined)).toBe(false);
    expect(hasher.hashCount).toBe(1);
  });

  test("that another argon2id has made is understood, and is made anew when its cost is another one", async () => {
    const salt = randomBytes(16);
    const parameters = { memoryKiB: 1024, passes: 3, parallelism: 2 };
    const hash = argon2Sync("argon2id", {
      message: PASSWORD,
      nonce: salt,
      memory: 1024,
      passes: 3,
      parallelism: 2,
      tagLength: 24,
    });
    const phc = formatPhc({ parameters, salt, hash });

    expect(parsePhc(phc)).toEqual({ parameters, salt, hash });
    expect(await createHasher().verify(PASSWORD, phc)).toBe(true);
    expect(isOutdated(phc)).toBe(true);
    expect(isOutdated(await createHasher().hash(PASSWORD))).toBe(false);
  });

  test.each([
    "",
    "password",
    "$2b$10$abcdefghijklmnopqrstuv",
    "$argon2i$v=19$m=1024,t=1,p=1$AAAAAAAAAAA$AAAAAAAAAAA",
  ])("is not what is no PHC string of argon2id: '%s'", (text) => {
    expect(() => parsePhc(text)).toThrow("no PHC string");
  });
});

describe("many passwords at the same time", () => {
  test("are checked one after the other; those for whom there is no room are refused at once", async () => {
    const hasher = createHasher();
    const refused: unknown[] = [];
    const attempts = Array.from({ length: 40 }, () => hasher.verify(PASSWORD, undefined));
    const settled = attempts.map((attempt) => attempt.catch((error: unknown) => refused.push(error)));
    // Every refusal that needs no hash has been made by then.
    await new Promise((resolve) => setImmediate(resolve));

    // One is worked on, 32 wait.
    expect(refused).toHaveLength(7);
    expect(refused[0]).toMatchObject({ type: "OVERLOADED", code: 503, retryable: true });
    expect(hasher.hashCount).toBe(1);
    await attempts[0];
    await hasher.stop();
    await Promise.all(settled);
  });

  test("are given up when the node stops", async () => {
    const hasher = createHasher();
    const outcomes = Promise.allSettled([1, 2, 3].map(() => hasher.hash(PASSWORD)));
    await hasher.stop();

    expect((await outcomes).map(({ status }) => status)).toEqual(["rejected", "rejected", "rejected"]);
    await expect(hasher.hash(PASSWORD)).rejects.toMatchObject({ type: "OVERLOADED" });
  });
});

describe("a common password", () => {
  test.each(["1234567890", "qwertyuiop", "password123", "Password123", "QWERTYUIOP", "1q2w3e4r5t"])(
    "is refused in any letter case: %s",
    (password) => {
      expect(() => requireUncommon(password, "newPassword")).toThrow(
        expect.objectContaining({
          type: "VALIDATION_FAILED",
          data: { errors: [expect.objectContaining({ field: "newPassword", rule: "common" })] },
        }),
      );
    },
  );

  test("is none that is only like one", () => {
    expect(() => requireUncommon("password123 of mine", "password")).not.toThrow();
    expect(() => requireUncommon("# The passwords of ten characters", "password")).not.toThrow();
  });
});
