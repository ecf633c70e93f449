import type { Middleware } from "moleculer";
import { ErrorCode } from "nats";
import { appError } from "./errors.ts";

/** A packet on its way to another node. */
interface Packet {
  type: string;
  target: string;
  payload: { id: string; meta: object };
}

/** What of Moleculer's transit is not in its types. */
interface Transit {
  sendResponse(
    node: string,
    id: string,
    meta: object,
    headers: null,
    data: null,
    error: Error,
  ): Promise<void>;
}

type Publish = (this: Transit, packet: Packet) => Promise<void>;

/**
 * Fails calls whose packets the NATS server would not take, 1 MiB unless it is set up otherwise: with PAYLOAD_TOO_LARGE
 * when it is the request, with RESULT_TOO_LARGE when it is the answer, for which the caller would wait until its timeout.
 */
export const packetLimitMiddleware: Middleware = {
  name: "PacketLimit",
  transitPublish: function limit(this: Transit, next: Publish): Publish {
    return async (packet) => {
      try {
        await next.call(this, packet);
      } catch (error) {
        if ((error as { code?: unknown }).code !== ErrorCode.MaxPayloadExceeded) throw error;
        if (packet.type !== "RES") {
          const detail = "The request is larger than what one node can send to another.";
          throw appError("PAYLOAD_TOO_LARGE", { detail }, error);
        }
        const { id, meta } = packet.payload;
        await this.sendResponse(packet.target, id, meta, null, null, appError("RESULT_TOO_LARGE"));
      }
    };
  } as never,
};
