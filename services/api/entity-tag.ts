import type { Format } from "./representation.ts";

/*
 * Entity tags (RFC 9110, 8.8.3) made from the version of a resource. The representations differ in their bytes, so a
 * strong tag must differ too: "3" is version 3 in JSON, "3-xml" in XML, "3-gzip" and "3-xml-gzip" the same compressed.
 */

/** @param version of the resource, or a hash of it where that says not all */
export function entityTag(version: number | string, format: Format): string {
  return format === "json" ? `"${version}"` : `"${version}-xml"`;
}

/** The tag of a representation when it is sent in a content coding, such as `gzip`. */
export function codedTag(tag: string, coding: string): string {
  return tag.replace(/"$/, `-${coding}"`);
}

const CODING = /-(?:br|deflate|gzip)(?="$)/;

/** The versions that `If-Match` allows; undefined: any. Weak tags never match (RFC 9110, 13.1.1). */
export function expectedVersionsOf(ifMatch: string | undefined): number[] | undefined {
  if (ifMatch === undefined || ifMatch.trim() === "*") return undefined;
  return ifMatch
    .split(",")
    .map((tag) => /^"([1-9]\d{0,8})(?:-xml)?"$/.exec(tag.trim().replace(CODING, ""))?.[1])
    .filter((version) => version !== undefined)
    .map(Number);
}

/**
 * The tag under which the client already has what `tag` stands for, in whatever coding (weak comparison, RFC 9110,
 * 13.1.2); undefined when it does not.
 */
export function knownTag(ifNoneMatch: string | undefined, tag: string): string | undefined {
  if (ifNoneMatch === undefined) return undefined;
  // As nearly all clients write it.
  if (ifNoneMatch === tag) return tag;
  if (ifNoneMatch.trim() === "*") return tag;
  return ifNoneMatch
    .split(",")
    .map((candidate) => candidate.trim().replace(/^W\//, ""))
    .find((candidate) => candidate.replace(CODING, "") === tag);
}
