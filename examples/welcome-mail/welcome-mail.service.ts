import type { ServiceSchema } from "moleculer";
import type { Node } from "../../bootstrap/node.ts";
import { hasType } from "../../broker/errors.ts";
import { durableConsumer } from "../../mixins/durable-consumer.mixin.ts";

/*
 * Writes a mail to everybody who signs up: one each, whatever is killed in between, and none to those who have left
 * before it was written.
 */

const INSERT_MAIL = {
  name: "welcome-mail.insert",
  text: "INSERT INTO welcome_mail.outgoing (user_id, address, text) VALUES ($1, $2, $3)",
};

export function createWelcomeMailService(node: Node): ServiceSchema {
  return {
    name: "welcome-mail",
    mixins: [
      durableConsumer(node, {
        name: "welcome-mail",
        events: ["user-created_v1"],
        async handler({ event, transaction, call }) {
          try {
            // As the user is now; as it was created it is in `event.data`.
            const user = await call("users.get", { id: event.subject });
            await transaction.query(INSERT_MAIL, [user.id, user.email, `Welcome, ${user.firstName}!`]);
          } catch (error) {
            if (!hasType(error, "USER_NOT_FOUND")) throw error;
          }
        },
      }),
    ],
  };
}
