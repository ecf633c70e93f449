/*
 * Checked by the compiler alone: nothing runs this. A line below `@ts-expect-error` that has no error is one.
 */
import type { Context, ServiceBroker } from "moleculer";

import { broadcast, call, type ActionName, type EventMap } from "../../lib/contracts.ts";
import type { DomainEvent } from "../../mixins/unit-of-work.store.ts";
import type { User, UserPage } from "../../services/users/users.contract.ts";
import type { Equal } from "./equal.ts";

export async function calls(broker: ServiceBroker, ctx: Context, id: string, user: User): Promise<void> {
  // The result is that of the action, from a broker and from a context.
  const got = await call(broker, "users.get", { id });
  true satisfies Equal<typeof got, User>;
  const page = await call(ctx, "users.list", { country: "DE", limit: 5 }, { timeout: 100 });
  true satisfies Equal<typeof page, UserPage>;
  const gone = await call(ctx, "users.delete", { id, expectedVersions: [1] });
  true satisfies Equal<typeof gone, null>;
  await call(ctx, "users.update", { id, nickname: null });
  await call(ctx, "users.health", {});

  // @ts-expect-error: there is no such action
  await call(ctx, "users.find", { id });
  // @ts-expect-error: the name of an event is not that of an action
  await call(ctx, "user-created_v1", user);
  // @ts-expect-error: parameters are missing
  await call(ctx, "users.get");
  // @ts-expect-error: a parameter is missing
  await call(ctx, "users.get", {});
  // @ts-expect-error: a parameter has another type
  await call(ctx, "users.get", { id: 1 });
  // @ts-expect-error: a parameter is not known
  await call(ctx, "users.get", { id, fields: ["email"] });
  // @ts-expect-error: null clears only what a user need not have
  await call(ctx, "users.update", { id, firstName: null });
  // @ts-expect-error: there is no such sort
  await call(ctx, "users.list", { sort: "email" });
  // @ts-expect-error: a new user has no role to choose
  await call(ctx, "users.create", { email: "a@b.cd", firstName: "A", lastName: "B", role: "admin" });
  // @ts-expect-error: an option is not known
  await call(ctx, "users.get", { id }, { timeOut: 100 });
  // @ts-expect-error: the result is a user, not a page
  const wrong: UserPage = await call(ctx, "users.get", { id });
  true satisfies Equal<typeof wrong, UserPage>;
}

export async function events(broker: ServiceBroker, ctx: Context, user: User): Promise<void> {
  await broadcast(broker, "events-appended", { sequence: 1 });

  // @ts-expect-error: there is no such event
  await broadcast(ctx, "events-gone", { sequence: 1 });
  // @ts-expect-error: the payload has another type
  await broadcast(ctx, "events-appended", { sequence: "1" });
  // @ts-expect-error: the payload is missing
  await broadcast(broker, "events-appended");
  // @ts-expect-error: a domain event is sent by a unit of work, so that none is lost
  await broadcast(ctx, "user-created_v1", user);
}

export function domainEvents(user: User): DomainEvent[] {
  return [
    { type: "user-updated_v1", data: user, changedFields: ["email"] },
    { type: "user-erased_v1", data: { id: user.id, version: 2 }, changedFields: [] },
    // @ts-expect-error: this event carries the whole user
    { type: "user-updated_v1", data: { id: user.id, version: 2 }, changedFields: [] },
    // @ts-expect-error: a transient event is not written to the outbox
    { type: "events-appended", data: { sequence: 1 }, changedFields: [] },
  ];
}

// Every name of an action is that of its service and its own, and of an event with a version or transient.
true satisfies Equal<ActionName, Extract<ActionName, `${string}.${string}`>>;
true satisfies Equal<
  Exclude<keyof EventMap, `${string}_v${number}`>,
  "auth-revoked" | "events-appended" | "dead-letter-replay-requested"
>;
