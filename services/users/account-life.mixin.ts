import type { Context } from "moleculer";
import type { AppServiceSchema } from "../../broker/service-schema.ts";
import { callAsNode, type ActionParams } from "../../lib/contracts.ts";
import type { UnitOfWorkMethods, Work } from "../../mixins/unit-of-work.mixin.ts";
import * as contract from "./users.contract.ts";
import * as domain from "./users.domain.ts";
import type { UsersEvents } from "./users.events.ts";
import type { UsersRepository } from "./users.repository.ts";

/** What a change of a user does, decided while its row is locked. */
export type Change = (record: domain.UserRecord | null, work: Work) => ChangeOutcome | Promise<ChangeOutcome>;
type ChangeOutcome = {
  record: domain.UserRecord;
  changes: domain.RecordChanges;
  event: {
    [Type in keyof UsersEvents]: UsersEvents[Type] extends contract.User ? Type : never;
  }[keyof UsersEvents];
};

export interface ChangingMethods {
  /**
   * Locks the user, applies `change` and records what it did. When nothing differs, nothing is written. What the user is
   * logged in with ends, if that is what the change is about.
   */
  changeUser(
    ctx: Context<{ id: string; expectedVersions?: number[] }>,
    change: Change,
  ): Promise<contract.User>;
}

/** What the service that mixes this in has. */
interface Host {
  repository: UsersRepository;
}

type Params<Name extends keyof contract.UsersActions> = Context<ActionParams<Name>>;

/**
 * The actions with which an account is suspended, deleted, restored and erased. After each that ends its use, its
 * sessions are ended at once; should that fail, a durable consumer of the auth service does it from the event.
 */
export function AccountLifeMixin(): Pick<
  AppServiceSchema<object, UnitOfWorkMethods & ChangingMethods, Host>,
  "actions"
> {
  return {
    actions: {
      suspend: {
        visibility: "published",
        params: contract.changeUserParams,
        idempotent: true,
        handler(ctx: Params<"users.suspend">) {
          const { id, expectedVersions } = ctx.params;
          return this.changeUser(ctx, (record) => {
            domain.requireLiveUser(record, id, expectedVersions);
            return {
              record,
              changes: domain.changesTo(record, { status: "suspended" }),
              event: "user-suspended_v1",
            };
          });
        },
      },

      unsuspend: {
        visibility: "published",
        params: contract.changeUserParams,
        idempotent: true,
        handler(ctx: Params<"users.unsuspend">) {
          const { id, expectedVersions } = ctx.params;
          return this.changeUser(ctx, (record) => {
            domain.requireLiveUser(record, id, expectedVersions);
            return {
              record,
              changes: domain.changesTo(record, { status: "active" }),
              event: "user-unsuspended_v1",
            };
          });
        },
      },

      delete: {
        visibility: "published",
        params: contract.changeUserParams,
        idempotent: true,
        async handler(ctx: Params<"users.delete">) {
          const { id, expectedVersions } = ctx.params;
          await this.changeUser(ctx, (record, { now }) => {
            domain.requireLiveUser(record, id, expectedVersions);
            return { record, changes: { deletedAt: now.toISOString() }, event: "user-deleted_v1" };
          });
          return null;
        },
      },

      restore: {
        visibility: "published",
        params: contract.changeUserParams,
        idempotent: true,
        handler(ctx: Params<"users.restore">) {
          return this.changeUser(ctx, (record, { now }) => {
            domain.requireUser(record, ctx.params.id, ctx.params.expectedVersions);
            domain.requireRestorable(record, now);
            return { record, changes: { deletedAt: null }, event: "user-restored_v1" };
          });
        },
      },

      erase: {
        visibility: "published",
        params: contract.changeUserParams,
        idempotent: true,
        async handler(ctx: Params<"users.erase">) {
          await this.unitOfWork(ctx, async (work) => {
            const { id, expectedVersions } = ctx.params;
            const record = await this.repository.lock(id, work.transaction);
            domain.requireUser(record, id, expectedVersions);
            await this.repository.remove(record.id, work.transaction);
            work.forget(record.id);
            work.record({
              type: "user-erased_v1",
              data: { id: record.id, version: record.version + 1 },
              changedFields: [],
            });
            const current = domain.absent(record.id, record.version + 1);
            return { subject: record.id, result: null, current };
          });
          await followUp(ctx, "auth.eraseUser", ctx.params.id);
          return null;
        },
      },
    },
  };
}

/** Short and tried once: whoever asked for the change waits for it, and it does not fail with it. */
const FOLLOW_UP = { timeout: 1000, retries: 0 };

/** Has auth do at once what it would otherwise do when it hears of the event. */
export async function followUp(
  ctx: Context,
  action: "auth.endSessions" | "auth.eraseUser",
  userId: string,
): Promise<void> {
  try {
    // Whoever may suspend a user need not be allowed to do this by itself.
    await callAsNode(ctx, action, { userId }, FOLLOW_UP);
  } catch (error) {
    ctx.broker.logger.warn({ err: error, action, userId }, "left to the consumer of the event");
  }
}
