import type { ServiceSchema } from "moleculer";

import type { Node } from "../../bootstrap/node.ts";
import { runProcess } from "../../bootstrap/run-process.ts";
import { durableConsumer } from "../../mixins/durable-consumer.mixin.ts";

/*
 * A program: a sibling service whose process ends, as by a fault that no handler can catch, with every event of the type
 * `user-deleted_v1`.
 */

const INSERT_EFFECT = {
  text: "INSERT INTO public.effects (consumer, event_id, subject, sequence) VALUES ('crashing', $1, $2, $3)",
};

function createCrashingConsumer(node: Node): ServiceSchema {
  return {
    name: "crashing",
    mixins: [
      durableConsumer(node, {
        name: "crashing",
        events: ["user-updated_v1", "user-deleted_v1"],
        maxDeliver: 2,
        backoff: [10],
        async handler({ event, transaction }) {
          if (event.type === "user-deleted_v1") process.kill(process.pid, "SIGKILL");
          await transaction.query(INSERT_EFFECT, [event.id, event.subject, Number(event.sequence)]);
        },
      }),
    ],
  };
}

await runProcess([createCrashingConsumer]);
