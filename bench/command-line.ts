import { relative } from "node:path";
import { parseArgs } from "node:util";

/** Names of options with their defaults: a whole number, a text, or undefined for a text that may be left out. */
type Defaults = Readonly<Record<string, number | string | undefined>>;

type Options<D extends Defaults> = {
  [Name in keyof D]: D[Name] extends number ? number : D[Name] extends string ? string : string | undefined;
};

/** Reads the command line of a benchmark. One that is wrong, or asks for `--help`, ends the process. */
export function readOptions<D extends Defaults>(defaults: D): Options<D> {
  const given = parse(Object.keys(defaults));
  if (given === "help") {
    const options = Object.entries(defaults).map(([name, value]) => ` [--${name} ${value ?? "…"}]`);
    console.log(`usage: node ${relative(".", process.argv[1] ?? "")}${options.join("")}`);
    process.exit();
  }
  const values = Object.entries(defaults).map(([name, value]) => {
    const text = given.get(name);
    const isNumber = typeof value === "number" && text !== undefined;
    return [name, isNumber ? wholeNumber(`--${name}`, text) : (text ?? value)];
  });
  return Object.fromEntries(values) as Options<D>;
}

function parse(names: string[]): Map<string, string> | "help" {
  const texts = names.map((name) => [name, { type: "string" }] as const);
  try {
    const { help, ...values } = parseArgs({
      options: { ...Object.fromEntries(texts), help: { type: "boolean", default: false } },
    }).values;
    return help ? "help" : new Map(Object.entries(values));
  } catch (error) {
    return refuse((error as Error).message);
  }
}

/** The number that an option has as its value. */
export function wholeNumber(option: string, text: string): number {
  return /^\d{1,9}$/.test(text) ? Number(text) : refuse(`${option}: '${text}' is not a whole number`);
}

/** Ends the process, as the command line cannot be followed. */
export function refuse(message: string): never {
  console.error(`${message}\nTry --help.`);
  process.exit(1);
}
