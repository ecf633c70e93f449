import { afterEach, beforeEach, describe, expect, test } from "@jest/globals";
import type { ServiceBroker } from "moleculer";

import { loadConfig } from "../../lib/config.ts";
import { call } from "../../lib/contracts.ts";
import { Database } from "../../lib/database.ts";
import { CredentialsRepository } from "../../services/auth/credentials.repository.ts";
import { FirstAdmin } from "../../services/auth/first-admin.ts";
import { PasswordHasher } from "../../services/auth/password-hasher.ts";
import { claimsOf } from "../support/auth-nodes.ts";
import { capturingLogger } from "../support/capturing-logger.ts";
import { silentLogger } from "../support/silent-logger.ts";
import { startTestNodes, type TestNodes } from "../support/test-nodes.ts";
import { waitFor } from "../support/wait-for.ts";

const ADMIN = { email: "root@example.com", password: "the password of root" };
const SETTINGS = { ADMIN_EMAIL: ADMIN.email, ADMIN_PASSWORD: ADMIN.password };
const NOBODY = { firstName: "No", lastName: "Body" };

let nodes: TestNodes;

beforeEach(async () => {
  nodes = await startTestNodes();
});

afterEach(() => nodes.stop());

const logIn = (broker: ServiceBroker, login = ADMIN) => call(broker, "auth.login", login);
const untilAdmin = (broker: ServiceBroker) =>
  waitFor(() => logIn(broker), { description: "the admin to log in" });
const admins = () => nodes.sql<{ email: string }>("SELECT email FROM users.users WHERE role = 'admin'");

describe("the first admin", () => {
  test("is there when a node of users and auth has started", async () => {
    const { broker } = await nodes.start({ SERVICES: "users,auth", ...SETTINGS });

    const claims = claimsOf(await logIn(broker));

    expect(claims).toMatchObject({ role: "admin" });
    expect(await call(broker, "users.get", { id: String(claims["sub"]) })).toMatchObject({
      email: ADMIN.email,
      role: "admin",
    });
  });

  test("is made once by nodes that start at the same time, before there are users", async () => {
    const { log, entries } = capturingLogger();
    const [a] = await Promise.all([
      nodes.start({ SERVICES: "auth", ...SETTINGS }, log),
      nodes.start({ SERVICES: "auth", ...SETTINGS }),
      nodes.start({ SERVICES: "auth", ...SETTINGS }),
    ]);
    await nodes.start({ SERVICES: "users" });

    await untilAdmin(a.broker);
    expect(await admins()).toHaveLength(1);
    const said = (words: string) => entries.filter(({ msg }) => msg.includes(words)).length;
    expect(said("waiting for the users service")).toBe(1);
    expect(said("waiting for the relay")).toBe(1);
    expect(said("is not registered")).toBe(0);
  });

  test("keeps the password that it has", async () => {
    const first = await nodes.start({ SERVICES: "users,auth", ...SETTINGS });
    await first.stop();
    const second = await nodes.start({
      SERVICES: "users,auth",
      ...SETTINGS,
      ADMIN_PASSWORD: "another password",
    });

    expect(claimsOf(await logIn(second.broker))).toMatchObject({ role: "admin" });
    await expect(logIn(second.broker, { ...ADMIN, password: "another password" })).rejects.toMatchObject({
      type: "INVALID_CREDENTIALS",
    });
  });

  test("gets its password when a node was killed before it could set that", async () => {
    const users = await nodes.start({ SERVICES: "users" });
    await call(users.broker, "users.createAdmin", { email: ADMIN.email, ...NOBODY });

    const { broker } = await nodes.start({ SERVICES: "auth", ...SETTINGS });

    await untilAdmin(broker);
    expect(await admins()).toHaveLength(1);
  });

  test("is nobody who has signed up under its address", async () => {
    const { log, entries } = capturingLogger();
    const users = await nodes.start({ SERVICES: "users" });
    const stranger = await call(users.broker, "users.create", { email: ADMIN.email, ...NOBODY });

    const { broker } = await nodes.start({ SERVICES: "auth", ...SETTINGS }, log);

    await waitFor(() => entries.find(({ userId }) => userId === stranger.id), {
      description: "the refusal to be logged",
    });
    await expect(logIn(broker)).rejects.toMatchObject({ type: "INVALID_CREDENTIALS" });
    expect(await admins()).toEqual([]);
  });

  test("of embedded mode has the password that was shown, although it could not be made yet by then", async () => {
    const { broker } = await nodes.start({ SERVICES: "auth" });
    const database = new Database({ ...loadConfig({}), DATABASE_URL: nodes.databaseUrl }, silentLogger);
    const hasher = new PasswordHasher();
    const node = { config: loadConfig({ LOG_LEVEL: "info" }), log: silentLogger };
    const credentials = new CredentialsRepository(database);
    const firstAdmin = new FirstAdmin({ node, broker, credentials, hasher });
    try {
      await firstAdmin.start();
      const shown = firstAdmin.takeGenerated();
      await nodes.start({ SERVICES: "users" });

      const tokens = await waitFor(() => logIn(broker, shown), { description: "the admin to log in" });
      expect(claimsOf(tokens)).toMatchObject({ role: "admin" });
      expect(firstAdmin.takeGenerated()).toBeUndefined();
    } finally {
      firstAdmin.stop();
      await hasher.stop();
      await database.close();
    }
  });

  test("is missed in distributed mode without the settings, until somebody has a password", async () => {
    const [first, second] = [capturingLogger(), capturingLogger()];
    const warnings = ({ entries }: typeof first) =>
      entries.filter(({ msg }) => msg.startsWith("nobody has a password"));

    const node = await nodes.start({ SERVICES: "users,auth" }, first.log);
    expect(await nodes.sql("SELECT FROM users.users")).toEqual([]);
    await call(node.broker, "users.create", { ...NOBODY, ...ADMIN });
    await nodes.start({ SERVICES: "users,auth" }, second.log);

    expect([warnings(first), warnings(second)]).toMatchObject([[{ level: 40 }], []]);
  });
});
