import { ServiceBroker } from "moleculer";
import { AckPolicy, connect } from "nats";

/*
 * A program that shares no code with Rollcall, only its NATS. It reads the events of new users from the stream, each
 * until it is handled, and calls an action for each.
 */

const url = new URL(process.env["NATS_URL"] ?? "nats://127.0.0.1:4222");
const { username: user, password } = url;
const nats = { servers: url.host, ...(user && { user, pass: decodeURIComponent(password) }) };

// The namespace is that of all nodes; the id is nobody else's.
const broker = new ServiceBroker({
  namespace: "rollcall",
  nodeID: `plain-program-${process.pid}`,
  transporter: { type: "NATS", options: nats },
  requestTimeout: 5000,
  logger: { type: "Console", options: { level: "warn" } },
});
await broker.start();
await broker.waitForServices("users");

// In whose name calls are made. Without it they are refused.
const options = { meta: { principal: { kind: "service", name: "plain-program" } } };

const connection = await connect(nats);
const manager = await connection.jetstreamManager();
// Durable: the server remembers under this name what is acknowledged, for all who run this program together.
await manager.consumers.add("EVENTS", {
  durable_name: "plain-program",
  filter_subject: "events.user-created_v1.*",
  ack_policy: AckPolicy.Explicit,
});
const consumer = await connection.jetstream().consumers.get("EVENTS", "plain-program");
for await (const message of await consumer.consume()) {
  // At least once: whoever must not handle an event twice remembers its `id`.
  const event = message.json<{ id: string; subject: string }>();
  try {
    const { firstName } = await broker.call<{ firstName: string }, object>(
      "users.get",
      { id: event.subject },
      options,
    );
    console.log(`Hello, ${firstName}! (event ${event.id})`);
  } catch (error) {
    // What an error means is said by its type. Anything but a user that has gone: the message comes again.
    if ((error as { type?: string }).type !== "USER_NOT_FOUND") throw error;
  }
  message.ack();
}
