/**
 * A stock Moleculer system, as its documentation shows it: moleculer-web as the gateway, a service on another node over
 * NATS, the Redis cacher, and Moleculer's own metrics for Prometheus. `ROLE` says which of the two nodes this is.
 *
 * `PORT`, `DATABASE_URL`, `NATS_URL`, `REDIS_URL` and `METRICS_PORT` come from the environment; `SIGTERM` stops it.
 */
import { ServiceBroker, type Context, type ServiceSchema } from "moleculer";
import ApiGateway from "moleculer-web";
import { Pool } from "pg";
import { createUserStore } from "./fastify.store.ts";

const { ROLE, PORT, DATABASE_URL, NATS_URL, REDIS_URL, METRICS_PORT } = process.env;
if (!NATS_URL || !REDIS_URL || !DATABASE_URL)
  throw new Error("NATS_URL, REDIS_URL, DATABASE_URL are required");

const redis = new URL(REDIS_URL);

const broker = new ServiceBroker({
  nodeID: `stock-${ROLE}`,
  namespace: "stock",
  logLevel: "warn",
  transporter: { type: "NATS", options: { url: NATS_URL } },
  cacher: {
    type: "Redis",
    options: { prefix: "stock", ttl: 60, redis: { host: redis.hostname, port: Number(redis.port) } },
  },
  metrics: { enabled: true, reporter: [{ type: "Prometheus", options: { port: Number(METRICS_PORT) } }] },
  requestTimeout: 4000,
});

if (ROLE === "gateway") {
  broker.createService({
    name: "api",
    mixins: [ApiGateway as unknown as ServiceSchema],
    settings: {
      port: Number(PORT),
      ip: "127.0.0.1",
      routes: [
        {
          path: "/api/v1",
          mappingPolicy: "restrict",
          aliases: { "GET /users": "users.list", "GET /users/:id": "users.get" },
        },
      ],
    },
  });
} else {
  const users = createUserStore(new Pool({ connectionString: DATABASE_URL, max: 10 }));
  broker.createService({
    name: "users",
    actions: {
      get: {
        cache: { keys: ["id"] },
        params: { id: "uuid" },
        handler: ({ params }: Context<{ id: string }>) => users.get(params.id),
      },
      list: {
        params: { limit: { type: "number", convert: true } },
        handler: ({ params }: Context<{ limit: number }>) => users.list(params.limit, undefined),
      },
    },
  });
}

await broker.start();
