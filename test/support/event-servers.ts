import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { promisify } from "node:util";

import type { ServiceBroker } from "moleculer";

import type { Principal } from "../../lib/principal.ts";
import { createEventAnswers, type EventAnswers, type EventTiming } from "../../services/api/event-answers.ts";
import type { GatewayRequest } from "../../services/api/gateway-request.ts";
import { sendProblem } from "../../services/api/respond.ts";
import { appendToLog, type LogColumns } from "./event-log.ts";
import { silentLogger } from "./silent-logger.ts";
import { startTestNodes, type TestNodes } from "./test-nodes.ts";

/** The part of a gateway that answers requests about the event log, with a time of its own. */
export interface EventServer {
  readonly streamUrl: string;
  readonly feedUrl: string;
  readonly answers: EventAnswers;
  /** Connections of clients that are open. */
  connections: () => Promise<number>;
  /** Takes the right to read from all clients. */
  revoke: () => void;
}

/** Event servers on one log, which only the test writes. */
export interface EventServers {
  readonly nodes: TestNodes;
  /** Of all servers. */
  readonly broker: ServiceBroker;
  start(timing?: EventTiming): Promise<EventServer>;
  /** Appends to the log and announces it, as the relay does. */
  append(count: number, columns?: LogColumns): Promise<void>;
  /** Stops the servers and empties the log. */
  reset(): Promise<void>;
  stop(): Promise<void>;
}

type StoppableServer = EventServer & { stop(): Promise<void> };

export async function startEventServers(): Promise<EventServers> {
  const nodes = await startTestNodes();
  await nodes.start({ SERVICES: "events", NODE_ID: "events" });
  const { broker } = await nodes.start({ SERVICES: "none", NODE_ID: "gateway" });
  let servers: StoppableServer[] = [];
  const stopServers = async (): Promise<void> => {
    await Promise.all(servers.map((server) => server.stop()));
    servers = [];
  };
  return {
    nodes,
    broker,
    async start(timing = {}) {
      const server = await startServer(broker, timing);
      servers.push(server);
      return server;
    },
    async append(count, columns) {
      await appendToLog(nodes, count, columns);
      const { head } = await nodes.sqlOne<{ head: string }>("SELECT head FROM events.relay");
      for (const { answers } of servers) answers.announce(Number(head));
    },
    async reset() {
      await stopServers();
      await nodes.sql("TRUNCATE events.log");
      await nodes.sql("UPDATE events.relay SET head = 0, published = 0");
    },
    async stop() {
      await stopServers();
      await nodes.stop();
    },
  };
}

async function startServer(broker: ServiceBroker, timing: EventTiming): Promise<StoppableServer> {
  let isRevoked = false;
  const guard = { stillAdmits: async () => !isRevoked };
  const answers = createEventAnswers({ broker, guard, log: silentLogger, timing });
  const server = createServer((incoming, response) => {
    const id = randomUUID();
    response.setHeader("X-Request-Id", id);
    const principal: Principal = { kind: "service", name: "gateway" };
    const request = Object.assign(incoming, { id, principal }) as GatewayRequest;
    const answer = incoming.url?.startsWith("/stream") ? answers.stream : answers.feed;
    answer(request, response).catch((error: unknown) => sendProblem(request, response, error, silentLogger));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    streamUrl: `${url}/stream`,
    feedUrl: `${url}/feed`,
    answers,
    connections: () => promisify(server.getConnections.bind(server))(),
    revoke: () => void (isRevoked = true),
    async stop() {
      answers.close();
      const closed = once(server, "close");
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}
