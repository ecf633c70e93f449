import { afterAll, afterEach, beforeAll, describe, expect, test } from "@jest/globals";

import { call } from "../../lib/contracts.ts";
import { TokenVerifier } from "../../services/api/token-verifier.ts";
import { createUserWithPassword, logIn, startAuthNodes, type AuthNodes } from "../support/auth-nodes.ts";
import { startTestIssuer, type TestIssuer } from "../support/external-issuer.ts";
import { silentLogger } from "../support/silent-logger.ts";
import { startTestNodes, type TestNodes } from "../support/test-nodes.ts";
import { signingKey, TEST_AUTH_KEY } from "../support/test-tokens.ts";
import { waitFor } from "../support/wait-for.ts";

const INVALID = { type: "INVALID_TOKEN", code: 401 };
const [FIRST, SECOND, THIRD] = [TEST_AUTH_KEY, "2".repeat(64), "3".repeat(64)];

const stops: (() => Promise<unknown> | void)[] = [];

afterEach(async () => {
  for (const stop of stops.splice(0).toReversed()) await stop();
});

describe("while keys are rotated, node by node, under load", () => {
  test("no valid token is refused, and none of a key that is gone is accepted", async () => {
    const nodes = await startTestNodes();
    stops.push(() => nodes.stop());
    const { broker } = await nodes.start({ SERVICES: "users" });
    const startPair = (keys: readonly string[]) =>
      Promise.all([1, 2].map(() => nodes.start({ SERVICES: "auth", AUTH_KEYS: keys.join(",") })));
    let running = await startPair([FIRST, SECOND]);
    const verifier = new TokenVerifier({ broker, log: silentLogger });
    stops.push(() => verifier.stop());
    await verifier.start();
    const user = await createUserWithPassword(broker);
    const old = await logIn(broker, user);

    const signers = new Set<string>();
    const rotation = new AbortController();
    const load = async (): Promise<void> => {
      while (!rotation.signal.aborted) {
        const { accessToken } = await logIn(broker, user);
        await verifier.verifyToken(accessToken);
        signers.add(kidOf(accessToken));
      }
    };
    const loads = [load(), load()];
    // The next key signs once every node knows it; the one before goes when its tokens have expired.
    for (const keys of [
      [SECOND, FIRST],
      [SECOND, THIRD],
    ]) {
      const next = await startPair(keys);
      await Promise.all(running.map((node) => node.stop()));
      running = next;
    }
    await waitFor(
      () =>
        verifier.verifyToken(old.accessToken).then(
          () => false,
          () => true,
        ),
      {
        description: "the token of the first key to be refused",
      },
    );
    rotation.abort();
    await Promise.all(loads);

    expect(signers).toEqual(new Set([FIRST, SECOND].map((key) => signingKey(key).kid)));
    await expect(verifier.verifyToken(old.accessToken)).rejects.toMatchObject(INVALID);
  });
});

const typeOf = (error: unknown): string => (error as { type: string }).type;

function kidOf(token: string): string {
  const [header = ""] = token.split(".");
  return (JSON.parse(Buffer.from(header, "base64url").toString("utf8")) as { kid: string }).kid;
}

describe("a token of the external issuer", () => {
  let nodes: TestNodes;
  let auth: AuthNodes;
  let issuer: TestIssuer;

  beforeAll(async () => {
    nodes = await startTestNodes();
    [auth, issuer] = await Promise.all([startAuthNodes(nodes), startTestIssuer()]);
  });

  afterAll(async () => {
    await nodes.stop();
    await issuer.stop();
  });

  async function startVerifier(): Promise<TokenVerifier> {
    const { external } = issuer;
    const verifier = new TokenVerifier({ broker: auth.caller, log: silentLogger, external });
    stops.push(() => verifier.stop());
    await verifier.start();
    return verifier;
  }

  test("is that of our user with its verified address, with our role", async () => {
    const verifier = await startVerifier();
    const user = await createUserWithPassword(auth.caller);
    const token = await issuer.tokenFor(user.email.toUpperCase(), { role: "admin" });

    const expected = { kind: "user", id: user.id, role: "user" };
    expect(await verifier.verifyToken(token)).toEqual(expected);
    expect(await verifier.verifyToken(token)).toEqual(expected);
  });

  test("is refused within a second after its user was suspended or deleted", async () => {
    const verifier = await startVerifier();
    const [suspended, deleted] = [
      await createUserWithPassword(auth.caller),
      await createUserWithPassword(auth.caller),
    ];
    const tokens = [await issuer.tokenFor(suspended.email), await issuer.tokenFor(deleted.email)] as const;
    for (const token of tokens) await verifier.verifyToken(token);
    await nodes.sql("UPDATE users.users SET status = 'suspended' WHERE id = $1", [suspended.id]);
    await call(auth.caller, "users.delete", { id: deleted.id });

    const codes = () =>
      Promise.all(tokens.map((token) => verifier.verifyToken(token).then(() => "", typeOf)));
    await waitFor(async () => !(await codes()).includes(""), { description: "the tokens to be refused" });
    expect(await codes()).toEqual(["ACCOUNT_SUSPENDED", "INVALID_TOKEN"]);
  });

  test.each([
    ["an address that is not verified", { email_verified: false }, {}],
    ["an address that is verified as text only", { email_verified: "true" }, {}],
    ["no address", { email: undefined }, {}],
    ["an address of nobody", { email: "nobody@example.com" }, {}],
    ["what is no address", { email: "nobody" }, {}],
    ["another audience", { aud: "another app of theirs" }, {}],
    ["another issuer", { iss: "https://other.example" }, {}],
    [
      "our issuer",
      { iss: "rollcall", aud: "rollcall", role: "admin", sid: "x", jti: "x" },
      { typ: "at+jwt" },
    ],
    ["the type of another kind of token", {}, { typ: "logout+jwt" }],
    ["a key that they do not have", {}, { kid: "other" }],
  ])("is refused with %s", async (_name, claims, header) => {
    const verifier = await startVerifier();
    const user = await createUserWithPassword(auth.caller);
    const token = await issuer.tokenFor(user.email, claims, header);

    await expect(verifier.verifyToken(token)).rejects.toMatchObject(INVALID);
  });

  test("is refused with an algorithm that is not that of its key", async () => {
    const verifier = await startVerifier();
    const user = await createUserWithPassword(auth.caller);
    const [, ...rest] = (await issuer.tokenFor(user.email)).split(".");
    const header = Buffer.from(JSON.stringify({ alg: "PS256", kid: "theirs" })).toString("base64url");

    await expect(verifier.verifyToken([header, ...rest].join("."))).rejects.toMatchObject(INVALID);
  });

  test("is neither accepted nor refused while their keys cannot be read, and ours are not concerned", async () => {
    const verifier = await startVerifier();
    const user = await createUserWithPassword(auth.caller);
    issuer.isAnswering = false;

    await expect(verifier.verifyToken(await issuer.tokenFor(user.email))).rejects.toMatchObject({
      type: "SERVICE_UNAVAILABLE",
    });
    await verifier.verifyToken((await logIn(auth.caller, user)).accessToken);
    issuer.isAnswering = true;
    expect(await verifier.verifyToken(await issuer.tokenFor(user.email))).toMatchObject({ id: user.id });
  });

  test("is not ours to accept without a configuration that says so", async () => {
    const verifier = new TokenVerifier({ broker: auth.caller, log: silentLogger });
    stops.push(() => verifier.stop());
    await verifier.start();
    const user = await createUserWithPassword(auth.caller);

    await expect(verifier.verifyToken(await issuer.tokenFor(user.email))).rejects.toMatchObject(INVALID);
  });
});
