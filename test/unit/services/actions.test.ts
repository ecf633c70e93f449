import { afterAll, describe, expect, test } from "@jest/globals";
import type { ServiceSchema } from "moleculer";

import type { Node } from "../../../bootstrap/node.ts";
import { NoCache } from "../../../broker/cache/no-cache.ts";
import type { AppActionSchema } from "../../../broker/service-schema.ts";
import { loadConfig } from "../../../lib/config.ts";
import type { ActionName } from "../../../lib/contracts.ts";
import { Database } from "../../../lib/database.ts";
import { createStorage } from "../../../lib/storage/create-storage.ts";
import { createApiService } from "../../../services/api/api.service.ts";
import { REST_ROUTES } from "../../../services/api/routes.ts";
import { createAuthService } from "../../../services/auth/auth.service.ts";
import { createCacheNodeService } from "../../../services/cache/cache-node.service.ts";
import { createCacheService } from "../../../services/cache/cache.service.ts";
import { createEventsService } from "../../../services/events/events.service.ts";
import { createImagesService } from "../../../services/images/images.service.ts";
import { createUsersService } from "../../../services/users/users.service.ts";
import { silentLogger } from "../../support/silent-logger.ts";
import { createTestBroker } from "../../support/test-broker.ts";
import { temporaryDir } from "../../support/test-run.ts";

const config = loadConfig({ SERVICES: "none" });
// It connects when it is used, which it is not here.
const database = new Database({ ...config, DATABASE_URL: "postgres://127.0.0.1:1/none" }, silentLogger);
const storage = await createStorage({ ...config, DATA_DIR: temporaryDir("data") }, silentLogger);
const node: Node = {
  config,
  log: silentLogger,
  secret: "",
  authKeys: ["1".repeat(64)],
  monitors: new Map(),
  isStopping: () => false,
  database,
  storage,
};

afterAll(async () => {
  storage.close();
  await database.close();
});

/** The actions of a service, those of its mixins among them, under their full names. */
function actionsOf(schema: object): Map<string, AppActionSchema> {
  const service = createTestBroker().createService(schema as ServiceSchema);
  const actions = Object.entries(service.schema.actions ?? {}).filter(([, action]) => action !== false);
  return new Map(actions.map(([name, action]) => [`${service.name}.${name}`, action as AppActionSchema]));
}

const auth = actionsOf(createAuthService(node));
const all = new Map([
  ...auth,
  ...actionsOf(createUsersService(node)),
  ...actionsOf(createEventsService(node)),
  ...actionsOf(createImagesService(node)),
  ...actionsOf(createCacheService(node)),
  ...actionsOf(createCacheNodeService(new NoCache())),
]);
const api = actionsOf(createApiService(node));
const names = (actions: Map<string, AppActionSchema>, has: (action: AppActionSchema) => boolean) =>
  [...actions].filter(([, action]) => has(action)).map(([name]) => name);

/** A second login is a session more, which nobody has; a second logout is none; caches are no rows. */
const REPEATABLE = new Set<string>(["auth.login", "auth.logout", "cache.purge", "cache.warm"]);

const source = ({ handler }: AppActionSchema) => String(handler);

describe("the action of a route", () => {
  test.each([...new Set(REST_ROUTES.map(({ action }) => action))])("%s is there and published", (action) => {
    expect(all.get(action)).toMatchObject({ visibility: "published" });
  });

  test("that changes something is idempotent, so that it may be retried, and one that reads is not", () => {
    for (const { method, action } of REST_ROUTES) {
      const isIdempotent = method !== "GET" && !REPEATABLE.has(action);
      expect([action, all.get(action)?.idempotent ?? false]).toEqual([action, isIdempotent]);
    }
  });
});

describe("every action", () => {
  test("is published only when a route leads to it", () => {
    const routed = new Set<string>(REST_ROUTES.map(({ action }) => action));
    expect(new Set(names(all, ({ visibility }) => visibility === "published"))).toEqual(routed);
  });

  test("says who may call it", () => {
    expect(names(all, ({ visibility }) => visibility === undefined)).toEqual([]);
  });

  test("checks its parameters strictly", () => {
    for (const [name, { params }] of all)
      expect([name, params]).toEqual([name, expect.objectContaining({ $$strict: true })]);
  });

  test("is idempotent exactly when it uses a unit of work", () => {
    const writing = names(all, (action) =>
      /this\.(?:unitOfWork|createUser|changeUser|createImage)\(/.test(source(action)),
    );
    expect(writing.length).toBeGreaterThan(0);
    // Its record would hold tokens; it has a way of its own to be retried.
    expect(names(all, ({ idempotent }) => idempotent === true).toSorted()).toEqual(
      [...writing, "auth.refresh"].toSorted(),
    );
  });

  test("is one of the contract: those of moleculer-db, which take raw queries, are left out", () => {
    const ofContract: Record<ActionName, true> = {
      "auth.health": true,
      "auth.login": true,
      "auth.refresh": true,
      "auth.logout": true,
      "auth.me": true,
      "auth.changePassword": true,
      "auth.createApiKey": true,
      "auth.listApiKeys": true,
      "auth.revokeApiKey": true,
      "auth.rotateApiKey": true,
      "auth.setPassword": true,
      "auth.checkApiKey": true,
      "auth.keys": true,
      "auth.revocations": true,
      "auth.endSessions": true,
      "auth.exportUser": true,
      "auth.eraseUser": true,
      "images.health": true,
      "images.create": true,
      "images.startUpload": true,
      "images.completeUpload": true,
      "images.list": true,
      "images.get": true,
      "images.delete": true,
      "images.setAvatar": true,
      "images.clearAvatar": true,
      "images.ofUser": true,
      "images.render": true,
      "images.reconcile": true,
      "users.health": true,
      "users.createAdmin": true,
      "users.findMissing": true,
      "users.showImages": true,
      "users.create": true,
      "users.get": true,
      "users.getByEmail": true,
      "users.list": true,
      "users.replace": true,
      "users.update": true,
      "users.suspend": true,
      "users.unsuspend": true,
      "users.delete": true,
      "users.restore": true,
      "users.erase": true,
      "users.export": true,
      "users.history": true,
      "cache.health": true,
      "cache.stats": true,
      "cache.purge": true,
      "cache.warm": true,
      "cache-node.stats": true,
      "cache-node.recent": true,
      "events.health": true,
      "events.list": true,
      "events.listInPieces": true,
      "events.status": true,
      "events.deadLetters": true,
      "events.replayDeadLetter": true,
      "events.replay": true,
    };
    expect(new Set(all.keys())).toEqual(new Set(Object.keys(ofContract)));
    expect(names(all, ({ cache }) => Boolean(cache))).toEqual(["users.get"]);
  });

  test("of the gateway is private, since other nodes could change the routes with it", () => {
    expect(names(api, ({ visibility }) => visibility !== "private")).toEqual([]);
  });
});
