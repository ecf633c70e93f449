import { Validators } from "moleculer";
import type { FieldError } from "../lib/error-catalogue.ts";
import { VALIDATOR_OPTIONS } from "../lib/validation.ts";

/** A body can break rules a hundred thousand times, and the report would be larger than what NATS takes. */
const MAX_ERRORS = 50;
const MAX_NAME_LENGTH = 100;

/** One entry of what fastest-validator reports. */
interface ReportEntry {
  type: string;
  field?: string;
  message: string;
  actual?: unknown;
}

/** The library's own reads as if the values that are allowed were the one that is not. */
const MESSAGES = { enumValue: "The '{field}' field must be one of {expected}." };

type Rules = Parameters<Validators.Fastest["compile"]>[0];
type Check = ReturnType<Validators.Fastest["compile"]>;
/** Also gives a report, which Moleculer's type leaves out. */
type Checked = (...args: Parameters<Check>) => true | ReportEntry[];

/** JavaScript also takes "0x10", "1e1", "005" and " 5 " for numbers; who writes one of them has made a mistake. */
const WHOLE_NUMBER = /^(?:0|-?[1-9]\d{0,15})$/;

/** What makes the code of a rule, as fastest-validator has it. */
type RuleFunction = (
  rule: { schema: { convert?: boolean }; messages: object },
  path: string,
  context: object,
) => { sanitized: boolean; source: string };

/** What Moleculer's types leave out. */
interface HasRules {
  validator: { rules: { number: RuleFunction } };
}

/**
 * Moleculer's validator, with a report that is small and says nothing of the values, since it travels between nodes and
 * into logs. `convert`, for numbers that come as text, takes whole numbers in their usual form only.
 */
export class Validator extends Validators.Fastest {
  constructor() {
    super({ ...VALIDATOR_OPTIONS, messages: MESSAGES });
    const { rules } = (this as unknown as HasRules).validator;
    const check = rules.number;
    rules.number = function number(this: unknown, rule, path, context) {
      if (rule.schema.convert !== true) return check.call(this, rule, path, context);
      const schema = { ...rule.schema, convert: false };
      const { source } = check.call(this, { ...rule, schema }, path, context);
      const convert = `if (typeof value === "string" && ${WHOLE_NUMBER}.test(value)) value = Number(value);`;
      return { sanitized: true, source: `${convert}\n${source}` };
    };
  }

  override compile(rules: Rules): Check {
    const check = super.compile(rules) as unknown as Checked;
    const checkAndReport = (...args: Parameters<Check>): true | FieldError[] => {
      const report = check(...args);
      return report === true || report.flatMap(toFieldErrors).slice(0, MAX_ERRORS);
    };
    return checkAndReport as unknown as Check;
  }
}

/** Unknown fields are reported as one entry, and become one each. */
function toFieldErrors({ type, field = "", message, actual }: ReportEntry): FieldError[] {
  if (type !== "objectStrict") return [{ field, rule: type, message }];
  const names = String(actual).split(", ");
  return names.map((name) => ({
    field: (field && `${field}.`) + shorten(name),
    rule: "unknown",
    message: `'${shorten(name)}' is not known here.`,
  }));
}

function shorten(name: string): string {
  return name.length > MAX_NAME_LENGTH ? `${name.slice(0, MAX_NAME_LENGTH)}…` : name;
}
