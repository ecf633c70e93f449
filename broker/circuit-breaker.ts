import type { BrokerOptions, Middleware } from "moleculer";
import { actionMiddleware } from "./action-middleware.ts";

/** An entry of the state that Moleculer's circuit breaker keeps for each endpoint. */
interface CircuitState {
  state: string;
  count: number;
  failures: number;
  ep: { state: boolean };
  cbTimer: NodeJS.Timeout | null;
}

/**
 * A 4xx is an answer: the endpoint works. Anything else counts, also errors with codes such as "ECONNREFUSED", but not
 * the loss of our own connection: with all circuits open, calls would go on failing after it is back. Nor what is refused
 * because there is too much of it: a crowd of logins or sign-ups would shut out all others from the whole action.
 */
function isFailure(error: Error): boolean {
  const { code, type } = error as { code?: unknown; type?: unknown };
  if (type === "SERVICE_UNAVAILABLE" || type === "OVERLOADED") return false;
  return !(typeof code === "number" && code >= 400 && code < 500);
}

/** Opens after half of at least 20 calls to an endpoint failed; tries one call again after 2 s. */
export const circuitBreakerOptions: NonNullable<BrokerOptions["circuitBreaker"]> = {
  enabled: true,
  threshold: 0.5,
  minRequestCount: 20,
  windowTime: 30,
  halfOpenTime: 2000,
  check: isFailure,
};

const closeOnAnswer = actionMiddleware((next, _action, broker) => {
  const states = () =>
    (broker as unknown as { CircuitBreakerStore: Map<string, CircuitState> }).CircuitBreakerStore;
  return async (ctx) => {
    const { name } = ctx.endpoint as unknown as { name: string };
    try {
      return await next(ctx);
    } catch (error) {
      const circuit = states().get(name);
      if (circuit?.state === "half_open_wait" && !isFailure(error as Error)) close(circuit);
      throw error;
    }
  };
});

/**
 * Closes a half-open circuit when its trial call is answered with a 4xx. Moleculer itself counts such an answer neither
 * as failure nor as success, so one request with bad input would keep a healthy endpoint out for another interval.
 */
export const circuitBreakerProbeMiddleware: Middleware = {
  name: "CircuitBreakerProbe",
  localAction: closeOnAnswer,
  remoteAction: closeOnAnswer,
};

function close(circuit: CircuitState): void {
  circuit.state = "close";
  circuit.ep.state = true;
  circuit.count = 0;
  circuit.failures = 0;
  if (circuit.cbTimer) clearTimeout(circuit.cbTimer);
  circuit.cbTimer = null;
}
