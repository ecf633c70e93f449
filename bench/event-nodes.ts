import { startRollcall, type Rollcall } from "../test/support/rollcall-process.ts";
import type { Servers } from "./servers.ts";

/** Starts a node of these services on the shared servers; `program` is another one than that of a node. */
export function startEventNode(
  { databaseUrl, natsUrl, redisUrl }: Servers,
  { services, program, env }: { services: string; program?: string; env?: Record<string, string> },
): Promise<Rollcall> {
  return startRollcall({
    ...(program !== undefined && { program }),
    env: {
      DATABASE_URL: databaseUrl,
      NATS_URL: natsUrl,
      REDIS_URL: redisUrl,
      SECRET: "a secret of the benchmark, 32 characters or more",
      SERVICES: services,
      LOG_FORMAT: "json",
      LOG_LEVEL: "info",
      NODE_ENV: "production",
      ...env,
    },
  });
}
