import { createHmac, timingSafeEqual } from "node:crypto";
import { derivedKey } from "./derived-key.ts";

/** What a signed URL allows: one request, and for an upload also what it must carry. */
export interface SignedRequest {
  method: "GET" | "PUT";
  path: string;
  /** `Content-Length` and `Content-Type` of an upload. */
  bytes?: number;
  contentType?: string;
}

/** Makes and checks URLs that allow one thing to whoever has them, until a certain time. */
export interface UrlSigner {
  /**
   * @param expiresAtSeconds since 1970
   * @returns the path with `?expires=…&signature=…`
   */
  sign(request: SignedRequest, expiresAtSeconds: number): string;
  /**
   * @param query what follows the `?`, as it came
   * @returns when the URL expires, in seconds since 1970; undefined when it does not allow this request, or no longer
   */
  verify(request: SignedRequest, query: string, nowMs?: number): number | undefined;
}

/** Just what was signed: another order or a further parameter would be another URL to every cache. */
const QUERY = /^expires=(\d{1,12})&signature=([\w-]{43})$/;

/** @param secret the node's SECRET */
export function createUrlSigner(secret: string): UrlSigner {
  const key = derivedKey(secret, "media");

  const macOf = ({ method, path, bytes, contentType }: SignedRequest, expires: string): Buffer =>
    createHmac("sha256", key)
      .update(JSON.stringify([method, path, expires, bytes ?? null, contentType ?? null]))
      .digest();

  return {
    sign(request, expiresAtSeconds) {
      const signature = macOf(request, String(expiresAtSeconds)).toString("base64url");
      return `${request.path}?expires=${expiresAtSeconds}&signature=${signature}`;
    },
    verify(request, query, nowMs = Date.now()) {
      const [, expires, signature] = QUERY.exec(query) ?? [];
      if (expires === undefined || signature === undefined) return undefined;
      const mac = Buffer.from(signature, "base64url");
      // The last character of 43 carries bits that count for nothing.
      if (mac.toString("base64url") !== signature) return undefined;
      if (!timingSafeEqual(mac, macOf(request, expires))) return undefined;
      return Number(expires) * 1000 > nowMs ? Number(expires) : undefined;
    },
  };
}
