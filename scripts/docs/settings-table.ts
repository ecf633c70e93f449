import { describeSettings } from "../../lib/config.ts";
import { markdownTable } from "./markdown.ts";

const BEGINNING = "<!-- settings:start -->\n";
const END = "<!-- settings:end -->";

/**
 * The README with the table of all settings between its two markers.
 *
 * @throws {Error} when a marker is missing
 */
export function withSettingsTable(readme: string): string {
  const start = readme.indexOf(BEGINNING);
  const end = readme.indexOf(END);
  if (start === -1 || end < start) throw new Error(`The README has no ${BEGINNING.trim()} … ${END}.`);
  return `${readme.slice(0, start)}${BEGINNING}\n${settingsTable()}\n\n${readme.slice(end)}`;
}

function settingsTable(): string {
  const rows = describeSettings().map(({ name, description, defaultValue }) => [
    `\`${name}\``,
    defaultValue === undefined ? "" : `\`${defaultValue}\``,
    description,
  ]);
  return markdownTable(["variable", "default", "meaning"], rows);
}
