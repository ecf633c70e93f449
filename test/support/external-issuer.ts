import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";

import { exportJWK, generateKeyPair, SignJWT, type JWK } from "jose";

import type { ExternalIssuer } from "../../services/api/external-tokens.ts";

/** An identity provider, with keys that are read over HTTP. */
export interface TestIssuer {
  readonly external: ExternalIssuer;
  /** Settings of nodes that accept its tokens. */
  readonly settings: Readonly<Record<string, string>>;
  /** Whether its keys can be read. */
  isAnswering: boolean;
  /** A token of whoever has this address there. */
  tokenFor(email: string, claims?: object, header?: object): Promise<string>;
  stop(): Promise<void>;
}

export async function startTestIssuer(): Promise<TestIssuer> {
  const pair = await generateKeyPair("RS256");
  const keys: JWK[] = [{ ...(await exportJWK(pair.publicKey)), kid: "theirs", alg: "RS256", use: "sig" }];
  const server = createServer((_request, response) => {
    if (testIssuer.isAnswering) response.end(JSON.stringify({ keys }));
    else response.writeHead(500).end();
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const issuer = "https://id.example";
  const audience = "https://api.example";
  const jwksUrl = `http://127.0.0.1:${port}/keys`;
  const testIssuer: TestIssuer = {
    external: { issuer, audience, jwksUrl },
    settings: { AUTH_ISSUER: issuer, AUTH_AUDIENCE: audience, AUTH_JWKS_URL: jwksUrl },
    isAnswering: true,
    tokenFor: (email, claims = {}, header = {}) =>
      new SignJWT({ email, email_verified: true, iss: issuer, aud: audience, sub: "their-4711", ...claims })
        .setProtectedHeader({ alg: "RS256", typ: "JWT", kid: "theirs", ...header })
        .setIssuedAt()
        .setExpirationTime("10m")
        .sign(pair.privateKey),
    async stop() {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
  return testIssuer;
}
