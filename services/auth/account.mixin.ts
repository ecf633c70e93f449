import type { Context } from "moleculer";
import type { AppServiceSchema } from "../../broker/service-schema.ts";
import type { ActionParams } from "../../lib/contracts.ts";
import type { Database } from "../../lib/database.ts";
import type { Accounts } from "./accounts.ts";
import * as contract from "./auth.contract.ts";
import type { CredentialsRepository } from "./credentials.repository.ts";
import type { PasswordHasher } from "./password-hasher.ts";
import { requireUncommon } from "./password-rules.ts";
import type { SessionsRepository } from "./sessions.repository.ts";

/** What the service that mixes this in has. */
interface Host {
  hasher: PasswordHasher;
}

export interface AnnouncingMethods {
  /** Tells every gateway that these sessions have ended. */
  announceEnded(sessionIds: readonly string[]): Promise<void>;
}

interface AccountParts {
  accounts: Accounts;
  database: Database;
  credentials: CredentialsRepository;
  sessions: SessionsRepository;
}

type Call<Name extends keyof contract.AuthActions> = Context<ActionParams<Name>>;

/** The actions with which other services follow the life of a user. */
export function AccountMixin({
  accounts,
  database,
  credentials,
  sessions,
}: AccountParts): Pick<AppServiceSchema<object, AnnouncingMethods, Host>, "actions"> {
  return {
    actions: {
      setPassword: {
        visibility: "public",
        params: contract.setPasswordParams,
        async handler(ctx: Call<"auth.setPassword">): Promise<null> {
          const { userId, password } = ctx.params;
          requireUncommon(password, "password");
          const hash = await this.hasher.hash(password);
          const endedIds = await database.transaction(async (transaction) => {
            await credentials.set(userId, hash, transaction);
            return sessions.endAll(userId, undefined, transaction);
          });
          await this.announceEnded(endedIds);
          return null;
        },
      },

      endSessions: {
        visibility: "public",
        params: contract.ofUserParams,
        async handler(ctx: Call<"auth.endSessions">): Promise<null> {
          const { userId } = ctx.params;
          const endedIds = await database.transaction((transaction) => accounts.logOut(userId, transaction));
          await this.announceEnded(endedIds);
          return null;
        },
      },

      exportUser: {
        visibility: "public",
        params: contract.ofUserParams,
        async handler(ctx: Call<"auth.exportUser">): Promise<contract.AuthExport> {
          const { userId } = ctx.params;
          const [credential, live] = await Promise.all([credentials.find(userId), sessions.list(userId)]);
          return { password: credential ? { changedAt: credential.changedAt } : null, sessions: live };
        },
      },

      eraseUser: {
        visibility: "public",
        params: contract.ofUserParams,
        async handler(ctx: Call<"auth.eraseUser">): Promise<null> {
          const { userId } = ctx.params;
          const endedIds = await database.transaction((transaction) => accounts.erase(userId, transaction));
          await this.announceEnded(endedIds);
          return null;
        },
      },
    },
  };
}
