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

const FOR_IMAGES: ReadonlySet<string> = new Set([
  "Content-Security-Policy",
  "Strict-Transport-Security",
  "X-Content-Type-Options",
]);

/**
 * The headers with which browsers protect their users. They are the same in every answer, so helmet, which makes them
 * anew each time, is asked once.
 */
export const SECURITY_HEADERS = new FixedHeaders(recordHeaders());

/**
 * Of those, the ones that protect from what is sent as an image. The others are about documents and what they load.
 * Images are also shown by other sites.
 */
export const IMAGE_SECURITY_HEADERS = new FixedHeaders(
  new Map([
    ...[...SECURITY_HEADERS.entries].filter(([name]) => FOR_IMAGES.has(name)),
    ["Cross-Origin-Resource-Policy", "cross-origin"],
  ]),
);

function recordHeaders(): Map<string, string> {
  const headers = new Map<string, string>();
  const recorder = {
    setHeader: (name: string, value: string) => headers.set(name, value),
    removeHeader: () => undefined,
  };
  setSecurityHeaders({} as IncomingMessage, recorder as unknown as ServerResponse, () => undefined);
  return headers;
}
