import { afterAll, afterEach, beforeAll, describe, expect, test } from "@jest/globals";

import { call } from "../../lib/contracts.ts";
import { TokenVerifier } from "../../services/api/token-verifier.ts";
import {
  claimsOf,
  createUserWithPassword,
  logIn,
  principalOf,
  startAuthNodes,
  type AuthNodes,
} from "../support/auth-nodes.ts";
import { capturingLogger } from "../support/capturing-logger.ts";
import { signedToken } from "../support/forge.ts";
import { FORGED_TOKENS } from "../support/forged-tokens.ts";
import { RestClient } from "../support/rest-client.ts";
import { silentLogger } from "../support/silent-logger.ts";
import { portOf } from "../support/test-gateway.ts";
import { startTestNodes, type TestNodes } from "../support/test-nodes.ts";
import { waitFor } from "../support/wait-for.ts";

/** Level in the log. */
const INFO = 30;
const INVALID = { type: "INVALID_TOKEN", code: 401, retryable: false };

let nodes: TestNodes;
let auth: AuthNodes;
const verifiers: TokenVerifier[] = [];

beforeAll(async () => {
  nodes = await startTestNodes();
  auth = await startAuthNodes(nodes);
});

afterEach(() => {
  for (const verifier of verifiers.splice(0)) verifier.stop();
});

afterAll(() => nodes.stop());

/** As a gateway has it on a node of its own, but not told by events: those are the gateway's. */
async function startVerifier(log = silentLogger): Promise<TokenVerifier> {
  const verifier = new TokenVerifier({ broker: auth.caller, log });
  verifiers.push(verifier);
  await verifier.start();
  return verifier;
}

const login = async () => logIn(auth.caller, await createUserWithPassword(auth.caller));
const untilRefused = (verifier: TokenVerifier, token: string) =>
  waitFor(
    () =>
      verifier.verifyToken(token).then(
        () => false,
        () => true,
      ),
    {
      description: "the token to be refused",
    },
  );

describe("an access token", () => {
  test("says who has logged in, and with which session", async () => {
    const verifier = await startVerifier();
    const tokens = await login();

    expect(await verifier.verifyToken(tokens.accessToken)).toEqual(principalOf(tokens));
    expect(await verifier.verifyToken(tokens.accessToken)).toEqual(principalOf(tokens));
  });

  test("of the forger of this test is good when nothing is wrong with it", async () => {
    const verifier = await startVerifier();

    expect(await verifier.verifyToken(signedToken())).toMatchObject({ kind: "user", role: "admin" });
  });

  test("that is forged is refused, in any of many ways", async () => {
    const verifier = await startVerifier();
    const verdicts = await Promise.all(
      Object.entries(FORGED_TOKENS).map(async ([name, token]) => {
        const verdict = await verifier.verifyToken(token).catch((error: unknown) => error);
        return [name, (verdict as { type?: unknown }).type];
      }),
    );

    expect(verdicts.length).toBeGreaterThan(70);
    expect(verdicts.filter(([, verdict]) => verdict !== INVALID.type)).toEqual([]);
  });

  test("is refused from the moment at which it expires, although it was seen before", async () => {
    const verifier = await startVerifier();
    const expiresAt = Math.floor(Date.now() / 1000) + 4;
    const token = signedToken({ claims: { exp: expiresAt } });
    await verifier.verifyToken(token);

    await untilRefused(verifier, token);
    expect(Date.now()).toBeGreaterThanOrEqual(expiresAt * 1000);
  });
});

describe("the end of a session", () => {
  test("is known at once to those who are told of it", async () => {
    const verifier = await startVerifier();
    const tokens = await login();
    await verifier.verifyToken(tokens.accessToken);

    verifier.endSessions([String(claimsOf(tokens)["sid"])]);

    await expect(verifier.verifyToken(tokens.accessToken)).rejects.toMatchObject(INVALID);
  });

  test("is found by those whom nobody told, seen before or not", async () => {
    const verifier = await startVerifier();
    const [seen, unseen] = [await login(), await login()];
    await verifier.verifyToken(seen.accessToken);
    // In this order: whoever has found the end of the second has found that of the first.
    await call(auth.caller, "auth.logout", { refreshToken: unseen.refreshToken });
    await call(auth.caller, "auth.logout", { refreshToken: seen.refreshToken });

    await untilRefused(verifier, seen.accessToken);
    await expect(verifier.verifyToken(unseen.accessToken)).rejects.toMatchObject(INVALID);
  });

  test("is known to a gateway that starts later", async () => {
    const tokens = await login();
    await call(auth.caller, "auth.logout", { refreshToken: tokens.refreshToken });

    const verifier = await startVerifier();

    await expect(verifier.verifyToken(tokens.accessToken)).rejects.toMatchObject(INVALID);
  });
});

test("without the auth service nothing is accepted or refused before ended sessions are known", async () => {
  const tokens = await login();
  const { log, entries } = capturingLogger();
  const own = await startTestNodes();
  try {
    const { broker } = await own.start({ SERVICES: "none" });
    const verifier = new TokenVerifier({ broker, log });
    verifiers.push(verifier);
    await verifier.start();

    await expect(verifier.verifyToken(tokens.accessToken)).rejects.toMatchObject({
      type: "SERVICE_UNAVAILABLE",
    });
    expect(entries.filter(({ msg }) => msg === "waiting for the auth service")).toHaveLength(1);
    await own.start({ SERVICES: "auth" });
    await waitFor(() => verifier.verifyToken(tokens.accessToken), { description: "auth to be there" });
    verifier.stop();
  } finally {
    await own.stop();
  }
});

test("a gateway is not ready before it has heard of the auth service, and stays so without it", async () => {
  const own = await startTestNodes();
  let client: RestClient | undefined;
  try {
    await own.start({ SERVICES: "users" });
    const { log, entries } = capturingLogger();
    const gateway = await own.start({ SERVICES: "api" }, log);
    client = new RestClient(`http://127.0.0.1:${portOf(gateway.broker)}`);
    const status = async () => (await client?.get("/health/ready"))?.status;
    expect(await status()).toBe(503);
    const logged = await waitFor(() => entries.find((entry) => entry["status"] === 503), {
      description: "the request to be logged",
    });
    // No error of the probe's.
    expect(logged).toMatchObject({ level: INFO, msg: "request" });

    const authNode = await own.start({ SERVICES: "auth" });
    await waitFor(async () => (await status()) === 200, { description: "the gateway to be ready" });
    await authNode.stop();
    expect(await status()).toBe(200);
  } finally {
    client?.close();
    await own.stop();
  }
});
