import { Validator } from "../../broker/validator.ts";
import type { FieldError } from "../../lib/error-catalogue.ts";

export interface Checked {
  /** As the handler gets them: trimmed, converted, with defaults. */
  readonly params: Record<string, unknown>;
  /** What is wrong with them; empty when they were accepted. */
  readonly errors: readonly FieldError[];
}

/** Checks parameters against the rules of an action with the validator that every broker has. */
export function check(rules: object, params: object): Checked {
  const checked = { ...params };
  // Moleculer's type leaves out the report.
  const report = new Validator().compile(rules)(checked) as true | FieldError[];
  return { params: checked, errors: report === true ? [] : report };
}
