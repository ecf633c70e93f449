/** An item of a list of structured fields (RFC 9651), of the kinds that this API sends: strings with integers. */
export interface Item {
  readonly value: string;
  readonly parameters: Readonly<Record<string, number>>;
}

const STRING = /^"((?:[\x20-\x21\x23-\x5b\x5d-\x7e]|\\["\\])*)"/;
const PARAMETER = /^; *([a-z*][a-z0-9_\-.*]*)=(-?\d{1,15})(?![\d.])/;
const COMMA = /^[ \t]*,[ \t]*(?=")/;

/**
 * Reads a list strictly, as RFC 9651 (4.2) demands: one wrong character and all of it is refused.
 *
 * @throws {Error}
 */
export function parseList(field: string): Item[] {
  let rest = field.trim();
  const expectNext = (pattern: RegExp): RegExpExecArray => {
    const match = pattern.exec(rest);
    if (!match) throw new Error(`This is no list of strings with integers: ${field}, from: ${rest}`);
    rest = rest.slice(match[0].length);
    return match;
  };
  const items: Item[] = [];
  for (;;) {
    const [, value = ""] = expectNext(STRING);
    const parameters: Record<string, number> = {};
    while (rest.startsWith(";")) {
      const [, name = "", number = ""] = expectNext(PARAMETER);
      parameters[name] = Number(number);
    }
    items.push({ value: value.replaceAll(/\\(.)/g, "$1"), parameters });
    if (rest === "") return items;
    expectNext(COMMA);
  }
}
