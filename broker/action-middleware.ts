import type { Context, Middleware, ServiceBroker } from "moleculer";
import type { AppActionSchema } from "./service-schema.ts";

/** The rest of the chain, down to the handler of the action or to the node that has it. */
export type Next = (ctx: Context) => Promise<unknown>;

/** Puts something around the calls of an action. Runs once for each action, not for each call. */
type Wrap = (next: Next, action: AppActionSchema, broker: ServiceBroker) => Next;

/** Makes a hook of a Moleculer middleware, whose own type leaves the result of a call open. */
export function actionMiddleware(wrap: Wrap): NonNullable<Middleware["localAction"]> {
  return function hook(this: ServiceBroker, next, action) {
    return wrap(next as Next, action, this);
  };
}
