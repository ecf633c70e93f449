import type { CallingOptions, Context, ServiceBroker } from "moleculer";

import { IDEMPOTENCY_KEY_HEADER } from "../../broker/idempotency-key.middleware.ts";
import { call, type ActionName, type ActionParams, type ActionResult } from "../../lib/contracts.ts";
import type { Principal, PrincipalMeta } from "../../lib/principal.ts";

/** Options of a call that is the request with this idempotency key. */
export function withKey(key: string, options: CallingOptions = {}): CallingOptions {
  return { ...options, headers: { [IDEMPOTENCY_KEY_HEADER]: key } };
}

/** Options of a call that somebody else than the calling node makes. */
export function as(principal: Principal): CallingOptions {
  return { meta: { principal } satisfies PrincipalMeta };
}

/** Options of a call by a sibling of this name. */
export function asService(name: string): CallingOptions {
  return as({ kind: "service", name });
}

export interface Answer<Result> {
  readonly result: Result;
  /** The result is that of an earlier request with the same key. */
  readonly isReplay: boolean;
}

/** As `call`, and also tells what the action says beside its result. */
export async function ask<Name extends ActionName>(
  broker: ServiceBroker,
  name: Name,
  params: ActionParams<Name>,
  options?: CallingOptions,
): Promise<Answer<ActionResult<Name>>> {
  const calling: Promise<ActionResult<Name>> & { ctx?: Context<unknown, { $isReplay?: boolean }> } = call(
    broker,
    name,
    params,
    options,
  );
  const result = await calling;
  return { result, isReplay: calling.ctx?.meta.$isReplay === true };
}
