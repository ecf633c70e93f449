/**
 * The peer Rollcall is measured against: what a good Fastify engineer would write for the same routes on the same
 * tables. One process, no layers between route and SQL: prepared statements, compiled validation and
 * serialization, one round trip a read. It may be made faster, never slower.
 *
 * `PORT`, `HOST`, `DATABASE_URL` and `REDIS_URL` come from the environment; `SIGTERM` stops it.
 */
import Fastify from "fastify";
import { Redis } from "ioredis";
import { Pool } from "pg";
import { Histogram, collectDefaultMetrics, register } from "prom-client";
import * as schemas from "./fastify.schemas.ts";
import { createUserStore, type NewUser } from "./fastify.store.ts";

const CACHE_TTL_SECONDS = 60;

const { PORT = "0", HOST = "127.0.0.1", DATABASE_URL, REDIS_URL } = process.env;
if (!DATABASE_URL || !REDIS_URL) throw new Error("DATABASE_URL and REDIS_URL are required");

const pool = new Pool({ connectionString: DATABASE_URL, max: 10 });
const redis = new Redis(REDIS_URL);
const users = createUserStore(pool);

collectDefaultMetrics();
const duration = new Histogram({
  name: "http_request_duration_seconds",
  help: "Duration of HTTP requests",
  labelNames: ["method", "route", "status"],
});

const app = Fastify({
  logger: false,
  // Fastify's default drops unknown fields in silence; Rollcall refuses them, so the peer does too.
  ajv: { customOptions: { removeAdditional: false } },
});

app.addHook("onResponse", (request, reply, done) => {
  const { method, routeOptions } = request;
  duration.observe(
    { method, route: routeOptions.url ?? "unknown", status: reply.statusCode },
    reply.elapsedTime / 1000,
  );
  done();
});

app.setErrorHandler((error: Error & { statusCode?: number }, _request, reply) => {
  const status = error.statusCode ?? 500;
  return reply.code(status).send({ status, title: status < 500 ? error.message : "Internal Server Error" });
});

app.post<{ Body: NewUser }>(
  "/api/v1/users",
  { schema: { body: schemas.newUser, response: { 201: schemas.user } } },
  async (request, reply) => {
    const user = await users.create(request.body, request.id);
    return reply.code(201).header("location", `/api/v1/users/${user.id}`).send(user);
  },
);

app.get<{ Params: { id: string } }>(
  "/api/v1/users/:id",
  { schema: { params: schemas.idParams, response: { 200: schemas.user } } },
  async (request, reply) => {
    const { id } = request.params;
    const key = `user:${id}`;
    const mayUseCache = request.headers["cache-control"] !== "no-cache";
    const cached = mayUseCache ? await redis.get(key) : null;
    if (cached !== null) return reply.type("application/json").send(cached);

    const user = await users.get(id);
    if (!user) return reply.code(404).send({ status: 404, title: "User not found" });
    if (mayUseCache) await redis.set(key, JSON.stringify(user), "EX", CACHE_TTL_SECONDS);
    return user;
  },
);

app.get<{ Querystring: { limit: number; cursor?: string } }>(
  "/api/v1/users",
  { schema: { querystring: schemas.listQuery, response: { 200: schemas.page } } },
  async (request) => users.list(request.query.limit, request.query.cursor),
);

app.get("/health/ready", async () => {
  await Promise.all([pool.query("SELECT 1"), redis.ping()]);
  return { status: "ok" };
});

app.get("/metrics", async (_request, reply) =>
  reply.type(register.contentType).send(await register.metrics()),
);

app.addHook("onClose", async () => {
  await pool.end();
  redis.disconnect();
});

process.once("SIGTERM", () => void app.close());
await app.listen({ port: Number(PORT), host: HOST });
