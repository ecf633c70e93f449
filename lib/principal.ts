/** What an API key may be allowed to do, one word of the API each. */
export const SCOPES = [
  "users:read",
  "users:write",
  "images:read",
  "images:write",
  "events:read",
  "cache:read",
  "cache:write",
] as const;
export type Scope = (typeof SCOPES)[number];

export type Role = "user" | "admin";

/** Who makes a call, as it was verified at the edge. It travels in the metadata of every call. */
export type Principal =
  | { kind: "anonymous" }
  /** A user with a session of ours, or with a token of the external issuer. */
  | { kind: "user"; id: string; role: Role; sessionId?: string }
  /** A backend with an API key. */
  | { kind: "api-key"; id: string; scopes: readonly Scope[] }
  /** A node of the system or a sibling on NATS, by the name in its configuration. */
  | { kind: "service"; name: string };

/** The metadata of a call in which its principal travels. */
export interface PrincipalMeta {
  principal?: Principal;
}

/** One text for a principal: the actor of events, and the owner of idempotency keys and rate limits. */
export function actorOf(principal: Principal): string {
  if (principal.kind === "anonymous") return "anonymous";
  return `${principal.kind}:${principal.kind === "service" ? principal.name : principal.id}`;
}
