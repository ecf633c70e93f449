import type { ServiceSchema } from "moleculer";

import type { Node } from "../../bootstrap/node.ts";
import { runProcess } from "../../bootstrap/run-process.ts";
import { durableConsumer } from "../../mixins/durable-consumer.mixin.ts";

/*
 * A program: a sibling service whose effect is a row for each event that it handles. Nothing in the table keeps an event
 * from being there twice.
 */

const INSERT_EFFECT = {
  name: "chaos.insert",
  text: `INSERT INTO public.effects (event_id, subject, version, nickname) VALUES ($1, $2, $3, $4)`,
};

function createChaosConsumer(node: Node): ServiceSchema {
  return {
    name: "chaos",
    mixins: [
      durableConsumer(node, {
        name: "chaos",
        events: ["user-created_v1", "user-updated_v1"],
        async handler({ event, transaction }) {
          const { version, nickname } = event.data;
          transaction.enlist(transaction.query(INSERT_EFFECT, [event.id, event.subject, version, nickname]));
        },
      }),
    ],
  };
}

await runProcess([createChaosConsumer]);
