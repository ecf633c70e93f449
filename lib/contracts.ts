import type { CallingOptions, Context, ServiceBroker } from "moleculer";
import type { AuthActions, AuthTransientEvents } from "../services/auth/auth.contract.ts";
import type { CacheActions } from "../services/cache/cache.contract.ts";
import { AUTH_EVENTS, type AuthEvents } from "../services/auth/auth.events.ts";
import type { EventsActions, EventsHints } from "../services/events/events.contract.ts";
import type { ImagesActions } from "../services/images/images.contract.ts";
import { IMAGES_EVENTS, type ImagesEvents } from "../services/images/images.events.ts";
import type { UsersActions } from "../services/users/users.contract.ts";
import { USERS_EVENTS, type UsersEvents } from "../services/users/users.events.ts";
import type { EventDefinitions } from "./event-definition.ts";

/** Every action that may be called from another service, with its parameters and result. */
export type ActionMap = AuthActions & CacheActions & EventsActions & ImagesActions & UsersActions;

/** Domain events: written to the outbox by a unit of work, so that none is lost and none is sent for nothing. */
export type DomainEventMap = AuthEvents & ImagesEvents & UsersEvents;

/** Every domain event with its description and the schema of its payload. */
export const DOMAIN_EVENTS = {
  ...AUTH_EVENTS,
  ...IMAGES_EVENTS,
  ...USERS_EVENTS,
} as const satisfies EventDefinitions<keyof DomainEventMap>;

/** Transient events between nodes. They are lost while NATS is away, so only hints that may be lost are among them. */
export type TransientEventMap = AuthTransientEvents & EventsHints;

/** Every event of the system. */
export type EventMap = DomainEventMap & TransientEventMap;

export type ActionName = keyof ActionMap;
export type ActionParams<Name extends ActionName> = ActionMap[Name]["params"];
export type ActionResult<Name extends ActionName> = ActionMap[Name]["result"];

/**
 * What an action or event can be sent from: the context of a request, so that its metadata goes along and the call is
 * made by its principal; or a broker, for what a node does in its own name.
 */
type Source = Context | ServiceBroker;

/**
 * Calls an action with checked parameters and a typed result.
 *
 * @throws a Moleculer error; those of ours have their code in `type`
 */
export function call<Name extends ActionName>(
  source: Source,
  name: Name,
  params: ActionParams<Name>,
  options?: CallingOptions,
): Promise<ActionResult<Name>> {
  return (source as ServiceBroker).call<ActionResult<Name>, ActionParams<Name>>(name, params, options);
}

/** The id of a request, which all calls have that it leads to. */
export function requestIdOf({ requestID, id }: Context): string {
  return requestID ?? id;
}

/**
 * Calls an action for a request, but in the name of this node, which may do what the principal of the request may not.
 *
 * @throws as `call`
 */
export function callAsNode<Name extends ActionName>(
  ctx: Context,
  name: Name,
  params: ActionParams<Name>,
  options?: CallingOptions,
): Promise<ActionResult<Name>> {
  return call(ctx.broker, name, params, { ...options, requestID: requestIdOf(ctx) });
}

/** Sends a transient event to every instance of every service that listens. */
export function broadcast<Name extends keyof TransientEventMap>(
  source: Source,
  name: Name,
  payload: TransientEventMap[Name],
): Promise<unknown> {
  return (source as ServiceBroker).broadcast(name, payload);
}
