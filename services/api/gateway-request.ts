import type { IncomingMessage, ServerResponse } from "node:http";
import type { CallingOptions } from "moleculer";
import type { Principal, PrincipalMeta } from "../../lib/principal.ts";

/** A request on its way through the gateway. */
export interface GatewayRequest extends IncomingMessage {
  url: string;
  /** In the log, in the answer and in all calls that the request leads to. */
  id: string;
  /** The pattern of its path, such as `/api/v1/users/:id`; paths themselves would be without number. */
  route: string;
  /** Of the path. */
  params: Readonly<Record<string, string>>;
  /** Nobody until the guard has found out. */
  principal: Principal;
}

/** Answers a request; never rejects. */
export type RequestHandler = (request: GatewayRequest, response: ServerResponse) => Promise<void>;

/** Does its part for a request, then calls `next`. */
export type Middleware = (request: IncomingMessage, response: ServerResponse, next: () => void) => void;

/** For the calls that a request leads to: in the name of who has sent it. */
export function callingOptions({ id, principal }: GatewayRequest): CallingOptions & { meta: PrincipalMeta } {
  return { requestID: id, caller: "api", meta: { principal } };
}
