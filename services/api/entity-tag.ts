import type { Format } from "./representation.ts";

/*
 * Entity tags (RFC 9110, 8.8.3) made from the version of a resource. The representations differ in their bytes, so a
 * strong tag must differ too: "3" is version 3 in JSON, "3-xml" in XML.
 */

/** @param version of the resource, or a hash of it where that says not all */
export function entityTag(version: number | string, format: Format): string {
  return format === "json" ? `"${version}"` : `"${version}-xml"`;
}

/** The versions that `If-Match` allows; undefined: any. Weak tags never match (RFC 9110, 13.1.1). */
export function expectedVersionsOf(ifMatch: string | undefined): number[] | undefined {
  if (ifMatch === undefined || ifMatch.trim() === "*") return undefined;
  return ifMatch
    .split(",")
    .map((tag) => /^"([1-9]\d{0,8})(?:-xml)?"$/.exec(tag.trim())?.[1])
    .filter((version) => version !== undefined)
    .map(Number);
}

/** Whether the client already has what `tag` stands for (weak comparison, RFC 9110, 13.1.2). */
export function isKnownTo(ifNoneMatch: string | undefined, tag: string): boolean {
  if (ifNoneMatch === undefined) return false;
  if (ifNoneMatch.trim() === "*") return true;
  return ifNoneMatch.split(",").some((candidate) => candidate.trim().replace(/^W\//, "") === tag);
}
