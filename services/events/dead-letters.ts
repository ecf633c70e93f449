import type { Context } from "moleculer";
import type { Node } from "../../bootstrap/node.ts";
import { appError } from "../../broker/errors.ts";
import type { AppActionSchema } from "../../broker/service-schema.ts";
import { broadcast, type ActionParams, type ActionResult } from "../../lib/contracts.ts";
import { createListPages } from "../../mixins/list-pages.ts";
import * as contract from "./dead-letters.contract.ts";
import { listDeadLetters, positionOf, requestReplay } from "./dead-letters.repository.ts";

/** The actions about what durable consumers gave up. */
export function deadLetterActions({
  database,
  secret,
}: Node): Record<"deadLetters" | "replayDeadLetter", AppActionSchema> {
  const pages = createListPages(secret);
  return {
    deadLetters: {
      visibility: "public",
      params: contract.listDeadLettersParams,
      async handler(ctx: Context<contract.ListDeadLetters>): Promise<ActionResult<"events.deadLetters">> {
        const { limit, cursor, consumer, isReplayed } = ctx.params;
        const scope = { list: "dead letters", consumer, isReplayed };
        const after = pages.startOf(cursor, scope);
        const letters = await listDeadLetters(database, { consumer, isReplayed, after, limit: limit + 1 });
        const { page, nextCursor } = pages.pageOf(letters, { limit, scope, positionOf });
        return { data: page, nextCursor };
      },
    },

    replayDeadLetter: {
      visibility: "public",
      params: contract.replayDeadLetterParams,
      async handler(
        ctx: Context<ActionParams<"events.replayDeadLetter">>,
      ): Promise<ActionResult<"events.replayDeadLetter">> {
        const { id, consumer } = ctx.params;
        const { found, requested } = await requestReplay(database, id, consumer);
        if (found === 0) {
          throw appError("DEAD_LETTER_NOT_FOUND", {
            detail: `There is no dead letter of the event '${id}'.`,
          });
        }
        if (requested > 0) await broadcast(ctx, "dead-letter-replay-requested", {});
        return { requested };
      },
    },
  };
}
