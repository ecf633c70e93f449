import type { Context, Service, ServiceSchema } from "moleculer";
import type { Node } from "../../bootstrap/node.ts";
import { hasType } from "../../broker/errors.ts";
import { IDEMPOTENCY_KEY_HEADER } from "../../broker/idempotency-key.middleware.ts";
import type { AppServiceSchema } from "../../broker/service-schema.ts";
import { broadcast, call, callAsNode, type ActionParams, type ActionResult } from "../../lib/contracts.ts";
import type { Principal, PrincipalMeta } from "../../lib/principal.ts";
import { createSweep } from "../../lib/sweep.ts";
import { DatabaseErrorsMixin } from "../../mixins/database-errors.mixin.ts";
import { HealthMixin } from "../../mixins/health.mixin.ts";
import { UnitOfWorkMixin, type UnitOfWorkMethods } from "../../mixins/unit-of-work.mixin.ts";
import type { User } from "../users/users.contract.ts";
import { AccountMixin, type AnnouncingMethods } from "./account.mixin.ts";
import { accountConsumer } from "./account-consumer.ts";
import { Accounts } from "./accounts.ts";
import { ApiKeysMixin } from "./api-keys.mixin.ts";
import * as contract from "./auth.contract.ts";
import { accountSuspended, invalidCredentials, invalidRefreshToken, notAUser } from "./auth.errors.ts";
import { CredentialsRepository } from "./credentials.repository.ts";
import { FirstAdmin } from "./first-admin.ts";
import { deleteLeftovers } from "./leftovers.ts";
import { hashOf } from "./opaque-tokens.ts";
import { isOutdated } from "./password-hash.ts";
import { PasswordHasher } from "./password-hasher.ts";
import { requireUncommon } from "./password-rules.ts";
import { Sessions } from "./sessions.ts";
import { SessionsRepository } from "./sessions.repository.ts";
import { SigningKeys } from "./signing-keys.ts";

/*
 * Owns what users and backends log in with: passwords, sessions, the keys of access tokens, API keys. An access token
 * is verified by the gateways themselves; a session that ends is made known to all of them at once. Secrets are neither
 * stored nor sent in events: see docs/adr/0009.
 */

interface Methods extends UnitOfWorkMethods, AnnouncingMethods {
  /** The user, not deleted, with this id or email address, past the cache. */
  findUser(ctx: Context, by: { id: string } | { email: string }): Promise<User | undefined>;
}

interface Variables {
  hasher: PasswordHasher;
  firstAdmin: FirstAdmin;
  sweep: ReturnType<typeof createSweep>;
}

/** No user has this id (RFC 9562, 5.9). */
const NIL = "00000000-0000-0000-0000-000000000000";

type AuthService = Service<object> & Methods & Variables;
type Call<Name extends keyof contract.AuthActions> = Context<ActionParams<Name>, PrincipalMeta>;

export function createAuthService(node: Node): AppServiceSchema<object, Methods, Variables> {
  const { database, config, log } = node;
  const keys = new SigningKeys(node.authKeys);
  const credentials = new CredentialsRepository(database);
  const sessionRows = new SessionsRepository(database);
  const accounts = new Accounts(credentials, sessionRows);
  const sessions = new Sessions(database, sessionRows, keys);

  return {
    name: "auth",
    mixins: [
      DatabaseErrorsMixin,
      UnitOfWorkMixin({
        database,
        idempotencyTtlHours: config.IDEMPOTENCY_TTL_HOURS,
        secret: node.secret,
        cachedReads: () => [],
      }),
      HealthMixin(node.monitors),
      ApiKeysMixin(node) as Partial<ServiceSchema>,
      AccountMixin({ accounts, database, credentials, sessions: sessionRows }) as Partial<ServiceSchema>,
      accountConsumer(node, accounts),
    ],
    // The first admin is a user, made before the gateway of this node says that it is ready.
    dependencies: config.SERVICES.filter((name) => name === "users"),

    actions: {
      login: {
        visibility: "published",
        params: contract.loginParams,
        async handler(ctx: Call<"auth.login">): Promise<contract.TokenPair> {
          const { email, password } = ctx.params;
          const found = await this.findUser(ctx, { email });
          // Without a user or a password, too, one is looked for and one hash is made, so that the time does not tell.
          const credential = await credentials.find(found?.id ?? NIL);
          const isRight = await this.hasher.verify(password, credential?.passwordHash);
          if (!found || !credential || !isRight) throw invalidCredentials();
          // Read again, after the generation of the password was: whoever was suspended meanwhile gets no session.
          const user = await this.findUser(ctx, { id: found.id });
          if (!user) throw invalidCredentials();
          if (user.status === "suspended") throw accountSuspended();
          if (isOutdated(credential.passwordHash)) {
            const change = { from: credential.passwordHash, to: await this.hasher.hash(password) };
            await credentials.rehash(user.id, change);
          }
          const started = await sessions.start(user, credential.generation);
          if (!started) throw invalidCredentials();
          await this.announceEnded(started.endedIds);
          return started.tokens;
        },
      },

      refresh: {
        visibility: "published",
        params: contract.refreshParams,
        // Has no unit of work, whose record would hold tokens: see Sessions.refresh.
        idempotent: true,
        async handler(ctx: Call<"auth.refresh">): Promise<contract.TokenPair> {
          const { refreshToken } = ctx.params;
          const userId = await sessionRows.findOwner(hashOf(refreshToken));
          // Before the token is used up: when the user cannot be read, the client comes again with the same one.
          const user = userId === undefined ? undefined : await this.findUser(ctx, { id: userId });
          if (!user) throw invalidRefreshToken();
          if (user.status === "suspended") throw accountSuspended();

          const refresh = await sessions.refresh(refreshToken, String(ctx.headers[IDEMPOTENCY_KEY_HEADER]));
          if (refresh.kind === "next") return sessions.issue(user, refresh);
          const { sessionId, endedIds } = refresh;
          log.warn(
            { userId, sessionId, requestId: ctx.requestID },
            "a refresh token was used twice: its session has ended",
          );
          await this.announceEnded(endedIds);
          throw invalidRefreshToken();
        },
      },

      logout: {
        visibility: "published",
        params: contract.logoutParams,
        async handler(ctx: Call<"auth.logout">): Promise<null> {
          const { refreshToken } = ctx.params;
          const { principal } = ctx.meta;
          const sessionId = principal?.kind === "user" ? principal.sessionId : undefined;
          if (refreshToken !== undefined) {
            await this.announceEnded(await sessionRows.endByToken(hashOf(refreshToken)));
          } else if (sessionId !== undefined) {
            await this.announceEnded(await sessionRows.end(sessionId));
          } else {
            throw notAUser();
          }
          return null;
        },
      },

      me: {
        visibility: "published",
        params: { $$strict: true },
        async handler(ctx: Call<"auth.me">): Promise<contract.Me> {
          const { principal } = ctx.meta;
          if (principal?.kind === "api-key") return { ...principal, scopes: [...principal.scopes] };
          const { id, role } = requireUser(principal);
          return { kind: "user", id, role, user: await call(ctx, "users.get", { id }) };
        },
      },

      changePassword: {
        visibility: "published",
        params: contract.changePasswordParams,
        idempotent: true,
        async handler(ctx: Call<"auth.changePassword">): Promise<null> {
          const { currentPassword, newPassword } = ctx.params;
          const { id: userId, sessionId } = requireUser(ctx.meta.principal);
          requireUncommon(newPassword, "newPassword");
          const from = (await credentials.find(userId))?.passwordHash;
          const isRight = await this.hasher.verify(currentPassword, from);
          const to = isRight ? await this.hasher.hash(newPassword) : undefined;

          let endedIds: readonly string[] = [];
          await this.unitOfWork(ctx, async (work) => {
            // In here: when this is the second time, the password is no longer the current one, and that is right.
            if (from === undefined || to === undefined) throw invalidCredentials();
            if (!(await credentials.change(userId, { from, to }, work.transaction)))
              throw invalidCredentials();
            endedIds = await sessionRows.endAll(userId, sessionId, work.transaction);
            work.record({
              type: "user-password-changed_v1",
              data: { id: userId },
              changedFields: ["password"],
            });
            return { subject: userId, result: null };
          });
          await this.announceEnded(endedIds);
          return null;
        },
      },

      keys: {
        visibility: "published",
        params: { $$strict: true },
        handler: (): ActionResult<"auth.keys"> => ({ keys: [...keys.publicKeys] }),
      },

      revocations: {
        visibility: "public",
        params: contract.revocationsParams,
        async handler(ctx: Call<"auth.revocations">): Promise<contract.RevocationReport> {
          const report = await sessionRows.endedSince(ctx.params.since, contract.ACCESS_TOKEN_TTL_SECONDS);
          return { ...report, keyIds: keys.publicKeys.map(({ kid }) => kid) };
        },
      },
    },

    methods: {
      async findUser(this: AuthService, ctx: Context, by: { id: string } | { email: string }) {
        // Not in the name of the caller, who may be nobody yet.
        const options = { meta: { $cache: false } };
        try {
          return "id" in by
            ? await callAsNode(ctx, "users.get", by, options)
            : await callAsNode(ctx, "users.getByEmail", by, options);
        } catch (error) {
          if (hasType(error, "USER_NOT_FOUND")) return undefined;
          throw error;
        }
      },

      async announceEnded(this: AuthService, sessionIds: readonly string[]) {
        if (sessionIds.length === 0) return;
        await broadcast(this.broker, "auth-revoked", { sessionIds: [...sessionIds] });
      },
    },

    created() {
      this.hasher = new PasswordHasher();
      this.firstAdmin = new FirstAdmin({ node, broker: this.broker, credentials, hasher: this.hasher });
      const leftovers = { broker: this.broker, credentials, sessions: sessionRows };
      this.sweep = createSweep(() => deleteLeftovers(leftovers));
    },

    async started() {
      this.sweep.start();
      await this.firstAdmin.start();
    },

    async stopped() {
      this.sweep.stop();
      this.firstAdmin.stop();
      await this.hasher.stop();
    },
  };
}

/** @throws INVALID_TOKEN for whoever is no user */
function requireUser(principal: Principal | undefined): Extract<Principal, { kind: "user" }> {
  if (principal?.kind !== "user") throw notAUser();
  return principal;
}
