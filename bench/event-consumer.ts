import type { Node } from "../bootstrap/node.ts";
import { runProcess } from "../bootstrap/run-process.ts";
import { durableConsumer } from "../mixins/durable-consumer.mixin.ts";

/*
 * A process with a durable consumer that writes down when it was called, in milliseconds since 1970.
 */

const INSERT = {
  name: "bench.insert-handled",
  text: "INSERT INTO bench.handled (user_id, handled_at_ms) VALUES ($1, $2)",
};

await runProcess([
  (node: Node) => ({
    name: "bench-consumer",
    mixins: [
      durableConsumer(node, {
        name: "bench-consumer",
        events: ["user-created_v1"],
        async handler({ event, transaction }) {
          const handledAtMs = performance.timeOrigin + performance.now();
          await transaction.query(INSERT, [event.subject, handledAtMs]);
        },
      }),
    ],
  }),
]);
