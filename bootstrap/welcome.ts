import type { Server } from "node:http";
import type { Config } from "../lib/config.ts";
import type { FirstAdmin } from "../services/auth/first-admin.ts";
import type { RunningNode } from "./running-node.ts";

/** Tells a person at a terminal where the gateway is, how to try it and how to stop it. */
export function printWelcome(config: Config, { broker }: RunningNode, howToStop: string): void {
  const address = addressOf(broker);
  if (!address || config.LOG_LEVEL === "silent") return;
  process.stdout.write(`
Rollcall is ready at ${address}

  curl ${address}/health
  curl -X POST ${address}/api/v1/auth/login -H 'Content-Type: application/json' \\
       -d '{"email":"…","password":"…"}'
  curl ${address}/api/v1/users -H 'Authorization: Bearer …'

${firstAdminOf(broker)}${config.DATABASE_URL ? "" : `Data is kept in ${config.DATA_DIR}. `}${howToStop}

`);
}

/** The password that embedded mode made is shown here and nowhere else. */
function firstAdminOf(broker: RunningNode["broker"]): string {
  const auth = broker.getLocalService("auth") as { firstAdmin?: FirstAdmin } | null;
  const login = auth?.firstAdmin?.takeGenerated();
  if (!login) return "";
  return `The first admin is ${login.email} with the password ${login.password}: it is not shown again.\n`;
}

function addressOf(broker: RunningNode["broker"]): string | undefined {
  const api = broker.getLocalService("api") as { server?: Server } | null;
  const address = api?.server?.address();
  if (!address || typeof address === "string") return undefined;
  const host = address.family === "IPv6" ? `[${address.address}]` : address.address;
  return `http://${host}:${address.port}`;
}
