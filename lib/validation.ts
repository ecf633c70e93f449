/**
 * Derives the type of validated parameters from their fastest-validator rules. Write the rules `as const`, in the
 * long form (`{ type: "string" }`, no shorthand strings), so that the rules are the only place that says what comes in.
 *
 * Fields with `optional: true` may be absent; with `nullable: true` they may be null; with `default` they are
 * present after validation.
 */
export type Infer<Rules> = Flatten<
  { -readonly [K in RequiredKeys<Rules>]: InferRule<Rules[K]> } & {
    -readonly [K in OptionalKeys<Rules>]?: InferRule<Rules[K]>;
  }
>;

type FieldKeys<Rules> = Exclude<keyof Rules, `$$${string}`>;
type OptionalKeys<Rules> = {
  [K in FieldKeys<Rules>]: Rules[K] extends { optional: true } ? K : never;
}[FieldKeys<Rules>];
type RequiredKeys<Rules> = Exclude<FieldKeys<Rules>, OptionalKeys<Rules>>;
type Flatten<T> = { [K in keyof T]: T[K] };

type InferRule<Rule> = BaseType<Rule> | (Rule extends { nullable: true } ? null : never);

type BaseType<Rule> = Rule extends { type: "enum"; values: readonly (infer Value)[] }
  ? Value
  : Rule extends { type: "array"; items: infer Items }
    ? InferRule<Items>[]
    : Rule extends { type: "object"; props: infer Props }
      ? Infer<Props>
      : Rule extends { type: "string" | "email" | "uuid" | "url" }
        ? string
        : Rule extends { type: "number" }
          ? number
          : Rule extends { type: "boolean" }
            ? boolean
            : unknown;

const RULE_TYPES = [
  "array",
  "boolean",
  "email",
  "enum",
  "number",
  "object",
  "string",
  "url",
  "uuid",
] as const;

/**
 * Options that make fastest-validator agree with {@link Infer}. By itself it takes null for every optional field, and
 * a handler would meet a value that its type rules out.
 */
export const VALIDATOR_OPTIONS = {
  considerNullAsAValue: true,
  defaults: Object.fromEntries(RULE_TYPES.map((type) => [type, { nullable: false }])),
};
