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

type Rules = Parameters<Validators.Fastest["compile"]>[0];
type Check = ReturnType<Validators.Fastest["compile"]>;
/** Also gives a report, which Moleculer's type leaves out. */
type Checked = (...args: Parameters<Check>) => true | ReportEntry[];

/**
 * Moleculer's validator, with a report that is small and says nothing of the values, since it travels between nodes
 * and into logs.
 */
export class Validator extends Validators.Fastest {
  constructor() {
    super({ ...VALIDATOR_OPTIONS });
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
