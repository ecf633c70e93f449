import type { ServiceBroker } from "moleculer";
import type { Logger } from "pino";

import { call } from "../../lib/contracts.ts";
import type { Principal } from "../../lib/principal.ts";
import type { TokenPair } from "../../services/auth/auth.contract.ts";
import type { PasswordHasher } from "../../services/auth/password-hasher.ts";
import type { User } from "../../services/users/users.contract.ts";
import { newUser } from "./rest-client.ts";
import type { Settings, TestNodes } from "./test-nodes.ts";

export const PASSWORD = "correct horse battery staple";

/** Brokers of a node of users, of two of auth, and of one without services, whose calls go over NATS. */
export interface AuthNodes {
  readonly users: ServiceBroker;
  readonly a: ServiceBroker;
  readonly b: ServiceBroker;
  readonly caller: ServiceBroker;
}

export async function startAuthNodes(
  nodes: TestNodes,
  settings: Settings = {},
  log?: Logger,
): Promise<AuthNodes> {
  const [users, a, b, caller] = await Promise.all([
    nodes.start({ SERVICES: "users", NODE_ID: "users", ...settings }),
    nodes.start({ SERVICES: "auth", NODE_ID: "auth-a", ...settings }, log),
    nodes.start({ SERVICES: "auth", NODE_ID: "auth-b", ...settings }, log),
    nodes.start({ SERVICES: "none", NODE_ID: "caller", ...settings }),
  ]);
  return { users: users.broker, a: a.broker, b: b.broker, caller: caller.broker };
}

/** A user who can log in. */
export async function createUserWithPassword(caller: ServiceBroker, password = PASSWORD): Promise<User> {
  const user = await call(caller, "users.create", newUser());
  await call(caller, "auth.setPassword", { userId: user.id, password });
  return user;
}

export function logIn(caller: ServiceBroker, { email }: User, password = PASSWORD): Promise<TokenPair> {
  return call(caller, "auth.login", { email, password });
}

/** What an access token says, unverified. */
export function claimsOf({ accessToken }: TokenPair): Readonly<Record<string, unknown>> {
  const [, payload = ""] = accessToken.split(".");
  return JSON.parse(Buffer.from(payload, "base64url").toString("utf8")) as Record<string, unknown>;
}

/** The principal of a session, as the gateway makes it from an access token. */
export function principalOf(tokens: TokenPair): Extract<Principal, { kind: "user" }> {
  const { sub, role, sid } = claimsOf(tokens) as { sub: string; role: "user" | "admin"; sid: string };
  return { kind: "user", id: sub, role, sessionId: sid };
}

/** How many password hashes a node of auth has made. */
export function hashCountOf(broker: ServiceBroker): number {
  return (broker.getLocalService("auth") as unknown as { hasher: PasswordHasher }).hasher.hashCount;
}
