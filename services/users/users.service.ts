import type { Context, Service, ServiceSchema } from "moleculer";
import type { Node } from "../../bootstrap/node.ts";
import type { AppServiceSchema } from "../../broker/service-schema.ts";
import { newId } from "../../lib/ids.ts";
import { callAsNode, type ActionParams, type ActionResult } from "../../lib/contracts.ts";
import type { PrincipalMeta } from "../../lib/principal.ts";
import { DatabaseMixin, type DatabaseMixinThis } from "../../mixins/database.mixin.ts";
import { HealthMixin } from "../../mixins/health.mixin.ts";
import { createListPages } from "../../mixins/list-pages.ts";
import { UnitOfWorkMixin, type UnitOfWorkMethods } from "../../mixins/unit-of-work.mixin.ts";
import { AccountLifeMixin, followUp, type Change, type ChangingMethods } from "./account-life.mixin.ts";
import { AccountRecordsMixin } from "./account-records.mixin.ts";
import { ShownImagesMixin } from "./shown-images.mixin.ts";
import * as contract from "./users.contract.ts";
import * as domain from "./users.domain.ts";
import { noUserWithEmail } from "./users.errors.ts";
import { userModel } from "./users.model.ts";
import { positionOf, UsersRepository } from "./users.repository.ts";

/*
 * Owns users (a profile is a user) and the schema `users`. Every change goes through a unit of work, so it is
 * executed at most once per idempotency key, and its event is sent if and only if it is committed.
 */

type Settings = { idField: string };

interface Methods extends UnitOfWorkMethods, ChangingMethods {
  createUser(ctx: Context<contract.NewUser, PrincipalMeta>, role: contract.UserRole): Promise<contract.User>;
}

interface Variables extends DatabaseMixinThis<contract.User> {
  repository: UsersRepository;
}

type UsersService = Service<Settings> & Methods & Variables;
type Params<Name extends keyof contract.UsersActions> = Context<ActionParams<Name>, PrincipalMeta>;

export function createUsersService(node: Node): AppServiceSchema<Settings, Methods, Variables> {
  const { database, config } = node;
  const pages = createListPages(node.secret);
  const hasExternalIssuer = config.AUTH_ISSUER !== undefined;

  return {
    name: "users",
    mixins: [
      DatabaseMixin({ database, model: userModel, toEntity: domain.toUser }),
      UnitOfWorkMixin({
        database,
        idempotencyTtlHours: config.IDEMPOTENCY_TTL_HOURS,
        secret: node.secret,
        cachedReads: (id) => [["users.get", { id }]],
      }),
      HealthMixin(node.monitors),
      AccountLifeMixin() as Partial<ServiceSchema>,
      AccountRecordsMixin(node) as Partial<ServiceSchema>,
      ShownImagesMixin(node),
    ],
    settings: { idField: "id" },

    actions: {
      create: {
        visibility: "published",
        params: contract.createUserParams,
        idempotent: true,
        handler(ctx: Params<"users.create">) {
          return this.createUser(ctx, "user");
        },
      },

      createAdmin: {
        visibility: "public",
        params: contract.createUserParams,
        idempotent: true,
        handler(ctx: Params<"users.createAdmin">) {
          return this.createUser(ctx, "admin");
        },
      },

      findMissing: {
        visibility: "public",
        params: contract.findMissingUsersParams,
        handler(ctx: Params<"users.findMissing">) {
          return this.repository.findMissing(ctx.params.ids);
        },
      },

      get: {
        visibility: "published",
        params: contract.getUserParams,
        cache: { near: true, id: "id" },
        async handler(ctx: Params<"users.get">) {
          const record = await this.repository.find(ctx.params.id);
          domain.requireLiveUser(record, ctx.params.id);
          return this.transformDocuments(ctx, {}, record);
        },
      },

      getByEmail: {
        visibility: "public",
        params: contract.getUserByEmailParams,
        async handler(ctx: Params<"users.getByEmail">) {
          const record = await this.repository.findByEmail(contract.normaliseEmail(ctx.params.email));
          if (!record) throw noUserWithEmail();
          return this.transformDocuments(ctx, {}, record);
        },
      },

      list: {
        visibility: "published",
        params: contract.listUsersParams,
        async handler(
          ctx: Context<contract.ListUsers, { $cache?: boolean }>,
        ): Promise<ActionResult<"users.list">> {
          const { limit, sort, cursor } = ctx.params;
          const filter = domain.toFilter(ctx.params);
          const scope = { list: "users", sort, filter };
          const query = { filter, sort, after: pages.startOf(cursor, scope), limit: limit + 1 };
          const records = await this.repository.list(query, { fresh: ctx.meta.$cache === false });
          const { page, nextCursor } = pages.pageOf(records, {
            limit,
            scope,
            positionOf: (record) => positionOf(record, sort),
          });
          // Not `transformDocuments`, which makes a chain of promises for every row.
          return { data: page.map(domain.toUser), nextCursor };
        },
      },

      replace: {
        visibility: "published",
        params: contract.replaceUserParams,
        idempotent: true,
        handler(ctx: Params<"users.replace">) {
          return this.changeUser(ctx, (record) => {
            domain.requireLiveUser(record, ctx.params.id, ctx.params.expectedVersions);
            const changes = domain.changesTo(record, domain.toProfile(ctx.params));
            return { record, changes, event: "user-updated_v1" };
          });
        },
      },

      update: {
        visibility: "published",
        params: contract.updateUserParams,
        idempotent: true,
        handler(ctx: Params<"users.update">) {
          const { id, expectedVersions, ...wanted } = ctx.params;
          return this.changeUser(ctx, (record) => {
            domain.requireLiveUser(record, id, expectedVersions);
            return { record, changes: domain.changesTo(record, wanted), event: "user-updated_v1" };
          });
        },
      },
    },

    methods: {
      async createUser(
        this: UsersService,
        ctx: Context<contract.NewUser, PrincipalMeta>,
        role: contract.UserRole,
      ) {
        const id = newId();
        const { password } = ctx.params;
        if (password !== undefined) {
          if (hasExternalIssuer) domain.requireAdmin(ctx.meta.principal, "password");
          // Before the user, so that none is there whose password was refused; one without a user is deleted later.
          await setPassword(ctx, id, password);
        }
        return this.unitOfWork(ctx, async (work) => {
          const record = domain.createUser(id, ctx.params, role, work.now);
          work.transaction.enlist(this.repository.insert(record, work.transaction));
          const result = domain.toUser(record);
          const changedFields = Object.keys(domain.toProfile(ctx.params));
          work.record({ type: "user-created_v1", data: result, changedFields });
          return { subject: record.id, result, current: domain.currentReading(result), isNew: true };
        });
      },

      async changeUser(this: UsersService, ctx: Context<{ id: string }, PrincipalMeta>, change: Change) {
        // Not when the request was done before: the user may have logged in since.
        let hasEndedSessions = false;
        const user = await this.unitOfWork(ctx, async (work) => {
          const current = await this.repository.lock(ctx.params.id, work.transaction);
          const { record, changes, event } = await change(current, work);
          if (hasExternalIssuer && changes.email !== undefined) {
            domain.requireAdmin(ctx.meta.principal, "email");
          }
          const isChanged = Object.keys(changes).length > 0;
          const next = isChanged ? domain.applyChanges(record, changes, work.now) : record;
          const result = domain.toUser(next);
          if (isChanged) {
            work.transaction.enlist(this.repository.update(next, work.transaction));
            work.record({ type: event, data: result, changedFields: domain.changedFields(changes) });
          }
          hasEndedSessions = domain.endsSessions(changes);
          return { subject: record.id, result, current: domain.currentReading(result) };
        });
        if (hasEndedSessions) await followUp(ctx, "auth.endSessions", user.id);
        return user;
      },
    },

    async started() {
      this.repository = new UsersRepository(database, this.model);
    },
  };
}

/** Not as whoever signs up, who may not set passwords of just any user. */
async function setPassword(ctx: Context, userId: string, password: string): Promise<void> {
  await callAsNode(ctx, "auth.setPassword", { userId, password });
}
