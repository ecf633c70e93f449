import { readFileSync } from "node:fs";
import { invalidField } from "../../broker/errors.ts";

let common: ReadonlySet<string> | undefined;

/**
 * Refuses passwords that everybody tries first, in any letter case. The rules of the parameters see to the length.
 *
 * @param field the parameter that the password came in
 * @throws VALIDATION_FAILED
 */
export function requireUncommon(password: string, field: string): void {
  common ??= readCommonPasswords();
  if (common.has(password.normalize("NFKC").toLowerCase())) {
    throw invalidField(field, "common", "This is one of the most common passwords. Choose another one.");
  }
}

function readCommonPasswords(): ReadonlySet<string> {
  const text = readFileSync(new URL("common-passwords.txt", import.meta.url), "utf8");
  return new Set(text.split("\n").filter((line) => line !== "" && !line.startsWith("#")));
}
