import type { AddressInfo } from "node:net";
import type { Server } from "node:http";

import type { ActionHandler, Context, ServiceBroker } from "moleculer";

import type { Node } from "../../bootstrap/node.ts";
import { loadConfig } from "../../lib/config.ts";
import { createApiService } from "../../services/api/api.service.ts";
import { newId } from "../../lib/ids.ts";
import { createStorage } from "../../lib/storage/create-storage.ts";
import type { Storage } from "../../lib/storage/storage.ts";
import { IMAGE_PATIENCE } from "./patience.ts";
import { RestClient } from "./rest-client.ts";
import { silentLogger } from "./silent-logger.ts";
import { createTestAuth } from "./test-auth.ts";
import { createTestBroker } from "./test-broker.ts";
import { temporaryDir } from "./test-run.ts";

/** A call that the gateway has made. */
export interface GatewayCall {
  readonly action: string;
  readonly params: Readonly<Record<string, unknown>>;
  readonly meta: Readonly<Record<string, unknown>>;
  readonly headers: Readonly<Record<string, unknown>>;
}

export interface TestGateway {
  /** Sends its requests as an admin. */
  readonly client: RestClient;
  readonly url: string;
  /** The calls that it has made, in order. */
  readonly calls: GatewayCall[];
  /** What it serves files from. */
  readonly storage: Storage;
  stop(): Promise<void>;
}

/**
 * The gateway, with services behind it that do what the test says and check nothing: for what the gateway itself makes
 * of a request and of a result.
 *
 * @param results what each action answers, or what makes the answer to a call
 */
export async function startTestGateway(
  results: Readonly<Record<string, unknown>>,
  settings: Readonly<Record<string, string>> = {},
): Promise<TestGateway> {
  const config = loadConfig({
    SERVICES: "users,api",
    PORT: "0",
    DRAIN_DELAY_MS: "0",
    RATE_LIMIT: "off",
    DATA_DIR: temporaryDir("data"),
    ...IMAGE_PATIENCE,
    ...settings,
  });
  const storage = await createStorage(config, silentLogger);
  const calls: GatewayCall[] = [];
  const broker = createTestBroker(settings);
  const auth = createTestAuth();
  const answer =
    (action: string, result: unknown): ActionHandler =>
    ({ params, meta, headers }: Context<GatewayCall["params"], GatewayCall["meta"]>) => {
      const call: GatewayCall = { action, params, meta, headers };
      calls.push(call);
      return typeof result === "function" ? (result as (call: GatewayCall) => unknown)(call) : result;
    };
  const actionsOf = (service: string): Record<string, ActionHandler> =>
    Object.fromEntries(
      Object.entries(results)
        .filter(([name]) => name.startsWith(`${service}.`))
        .map(([name, result]) => [name.slice(service.length + 1), answer(name, result)]),
    );
  for (const name of ["users", "images", "cache"]) broker.createService({ name, actions: actionsOf(name) });
  broker.createService({ ...auth.service, actions: { ...auth.service.actions, ...actionsOf("auth") } });
  const node: Node = {
    config,
    log: silentLogger,
    secret: "",
    authKeys: [],
    monitors: new Map(),
    isStopping: () => false,
    get database(): never {
      throw new Error("The gateway has no database.");
    },
    storage,
  };
  broker.createService(createApiService(node) as never);
  await broker.start();

  const url = `http://127.0.0.1:${portOf(broker)}`;
  const client = new RestClient(url, { token: await auth.tokenOf({ id: newId(), role: "admin" }) });
  return {
    client,
    url,
    calls,
    storage,
    async stop() {
      client.close();
      await broker.stop();
      storage.close();
    },
  };
}

/** The port of the gateway that runs on this broker. */
export function portOf(broker: ServiceBroker): number {
  const { server } = broker.getLocalService("api") as unknown as { server: Server };
  return (server.address() as AddressInfo).port;
}
