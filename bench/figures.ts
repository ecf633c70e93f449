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

/** A table in Markdown. */
export function renderTable(header: readonly string[], rows: readonly (readonly string[])[]): string {
  // Text to the left, figures to the right.
  const alignment = header.map((_, column) => (column === 0 ? "---" : "---:"));
  return [header, alignment, ...rows].map((cells) => `| ${cells.join(" | ")} |`).join("\n");
}
