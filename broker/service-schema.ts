import type { ActionHandler, ActionSchema, Service, ServiceSchema } from "moleculer";
import type { ActionCache } from "./cache/cacher.ts";

/** Moleculer's action schema with what Rollcall adds. */
export type AppActionSchema<This = Service> = ActionSchema<This> & {
  cache?: boolean | ActionCache;
  /** Every call gets an idempotency key, and the handler uses a unit of work. */
  idempotent?: boolean;
  /** In milliseconds, in place of REQUEST_TIMEOUT_MS; 0: none. Moleculer reads it; its types leave it out. */
  timeout?: number;
};

/** The schema of a service whose `this` has exactly the given settings, methods and variables. */
export type AppServiceSchema<Settings, Methods, Variables> = Omit<
  ServiceSchema<Settings, Methods, Variables, Service<Settings> & Methods & Variables>,
  "actions"
> & {
  actions?: Record<
    string,
    | AppActionSchema<Service<Settings> & Methods & Variables>
    | ActionHandler<Service<Settings> & Methods & Variables>
    | false
  > &
    ThisType<Service<Settings> & Methods & Variables>;
};
