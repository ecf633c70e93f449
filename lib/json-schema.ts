/** The part of JSON Schema (draft 2020-12) that describes data of ours. */
export type JsonSchema = (
  | { readonly type: SchemaType | readonly SchemaType[] }
  | { readonly enum: readonly string[] }
  | { readonly const: string }
) & {
  readonly title?: string;
  readonly description?: string;
  readonly format?: "uuid" | "date-time" | "uri-reference";
  readonly pattern?: string;
  readonly minimum?: number;
  readonly items?: JsonSchema;
  readonly properties?: Readonly<Record<string, JsonSchema>>;
  /** What is not named here may be absent. */
  readonly required?: readonly string[];
};

type SchemaType = "array" | "integer" | "null" | "object" | "string";

/** The type of the values that a schema, written `as const`, allows. */
export type FromSchema<Schema> = Schema extends { enum: readonly (infer Value)[] }
  ? Value
  : Schema extends { const: infer Value }
    ? Value
    : Schema extends { type: "object"; properties: infer Properties; required: readonly (infer Required)[] }
      ? Flatten<
          { -readonly [K in keyof Properties & Required]: FromSchema<Properties[K]> } & {
            -readonly [K in Exclude<keyof Properties, Required>]?: FromSchema<Properties[K]>;
          }
        >
      : Schema extends { type: "array"; items: infer Items }
        ? FromSchema<Items>[]
        : Schema extends { type: readonly (infer Types)[] }
          ? Primitive<Types>
          : Schema extends { type: infer Type }
            ? Primitive<Type>
            : unknown;

type Primitive<Type> = Type extends keyof Primitives ? Primitives[Type] : unknown;
type Primitives = { integer: number; null: null; string: string };
type Flatten<T> = { [K in keyof T]: T[K] };
