import type { IncomingMessage, ServerResponse } from "node:http";
import helmet from "helmet";
import { FixedHeaders } from "../../lib/listed-headers.ts";

/** For an API: its answers are no documents, so nothing may be loaded from or around them. */
const setSecurityHeaders = helmet({
  contentSecurityPolicy: {
    useDefaults: false,
    directives: { defaultSrc: ["'none'"], frameAncestors: ["'none'"] },
  },
});

/**
 * The headers with which browsers protect their users. They are the same in every answer, so helmet, which makes them
 * anew each time, is asked once.
 */
export const SECURITY_HEADERS = new FixedHeaders(recordHeaders());

function recordHeaders(): Map<string, string> {
  const headers = new Map<string, string>();
  const recorder = {
    setHeader: (name: string, value: string) => headers.set(name, value),
    removeHeader: () => undefined,
  };
  setSecurityHeaders({} as IncomingMessage, recorder as unknown as ServerResponse, () => undefined);
  return headers;
}
