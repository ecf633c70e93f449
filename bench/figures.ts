import type { Spread } from "./summary.ts";

/** A number for a table, rounded. */
export function whole(value: number): string {
  return Math.round(value).toLocaleString("en");
}

export function verdict(isMet: boolean): string {
  return isMet ? "met" : "**missed**";
}

/** The median of all rounds, and how far they lie apart. */
export function spread({ median, lowest, highest }: Spread): string {
  return `${median.toFixed(2)} (${lowest.toFixed(2)}–${highest.toFixed(2)})`;
}

/** A table in Markdown, as prettier writes it: text to the left, figures to the right. */
export function renderTable(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const lines = [header, ...rows];
  const widths = header.map((_, column) => Math.max(3, ...lines.map((cells) => cells[column]?.length ?? 0)));
  const isText = (column: number): boolean => column === 0;
  const alignment = widths.map((width, column) => (isText(column) ? "-" : ":").padStart(width, "-"));
  const padded = lines.map((cells) =>
    widths.map((width, column) => {
      const cell = cells[column] ?? "";
      return isText(column) ? cell.padEnd(width) : cell.padStart(width);
    }),
  );
  padded.splice(1, 0, alignment);
  return padded.map((cells) => `| ${cells.join(" | ")} |`).join("\n");
}
