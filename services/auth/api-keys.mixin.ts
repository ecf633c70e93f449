import type { Context } from "moleculer";
import type { Node } from "../../bootstrap/node.ts";
import type { AppServiceSchema } from "../../broker/service-schema.ts";
import type { ActionParams } from "../../lib/contracts.ts";
import { derivedKey } from "../../lib/derived-key.ts";
import { seal, unseal } from "../../lib/sealed-box.ts";
import { createListPages } from "../../mixins/list-pages.ts";
import type { UnitOfWorkMethods } from "../../mixins/unit-of-work.mixin.ts";
import { isKeyOf, issueApiKey, rotateApiKey, toApiKey } from "./api-keys.domain.ts";
import { ApiKeysRepository, type ApiKeyRecord } from "./api-keys.repository.ts";
import * as contract from "./auth.contract.ts";
import { apiKeyNotFound } from "./auth.errors.ts";
import { prefixOf } from "./opaque-tokens.ts";

/** The service that mixes this in has a unit of work. */
type Actions = Pick<AppServiceSchema<object, UnitOfWorkMethods, object>, "actions">;
type Call<Name extends keyof contract.AuthActions> = Context<ActionParams<Name>>;

/** What the cursors of the one list are bound to. */
const LIST = { list: "api-keys" };

/** The actions for the API keys of backends. */
export function ApiKeysMixin({ database, secret }: Pick<Node, "database" | "secret">): Actions {
  const repository = new ApiKeysRepository(database);
  const pages = createListPages(secret);
  // A replay has to show the key again, and the record that it is answered from must not hold it.
  const recordKey = derivedKey(secret, "api key in an idempotency record");
  const sealKey = (record: ApiKeyRecord, key: string): contract.ApiKeyWithSecret => ({
    ...toApiKey(record),
    key: seal(key, recordKey),
  });
  const unsealKey = (sealed: contract.ApiKeyWithSecret): contract.ApiKeyWithSecret => {
    const key = unseal(sealed.key, recordKey);
    if (key === undefined) throw new Error("SECRET is another one than when the API key was made.");
    return { ...sealed, key };
  };

  return {
    actions: {
      createApiKey: {
        visibility: "published",
        params: contract.createApiKeyParams,
        idempotent: true,
        async handler(ctx: Call<"auth.createApiKey">) {
          const sealed = await this.unitOfWork(ctx, async (work) => {
            const { record, key } = issueApiKey(ctx.params, work.now);
            work.transaction.enlist(repository.insert(record, work.transaction));
            const data = toApiKey(record);
            work.record({ type: "api-key-created_v1", data, changedFields: Object.keys(ctx.params) });
            return { subject: record.id, result: sealKey(record, key) };
          });
          return unsealKey(sealed);
        },
      },

      listApiKeys: {
        visibility: "published",
        params: contract.listApiKeysParams,
        async handler(ctx: Call<"auth.listApiKeys">): Promise<contract.ApiKeyPage> {
          const { limit = 20, cursor } = ctx.params;
          const [after] = pages.startOf(cursor, LIST) ?? [];
          const records = await repository.list({ after: after?.toString(), limit: limit + 1 });
          const positionOf = ({ id }: ApiKeyRecord) => [id];
          const { page, nextCursor } = pages.pageOf(records, { limit, scope: LIST, positionOf });
          return { data: page.map(toApiKey), nextCursor };
        },
      },

      revokeApiKey: {
        visibility: "published",
        params: contract.apiKeyParams,
        idempotent: true,
        handler(ctx: Call<"auth.revokeApiKey">): Promise<null> {
          const { id } = ctx.params;
          return this.unitOfWork(ctx, async (work) => {
            const record = await repository.lock(id, work.transaction);
            if (!record) throw apiKeyNotFound(id);
            work.transaction.enlist(repository.revoke(id, work.now, work.transaction));
            const data = { ...toApiKey(record), revokedAt: work.now.toISOString() };
            work.record({ type: "api-key-revoked_v1", data, changedFields: ["revokedAt"] });
            return { subject: id, result: null };
          });
        },
      },

      rotateApiKey: {
        visibility: "published",
        params: contract.rotateApiKeyParams,
        idempotent: true,
        async handler(ctx: Call<"auth.rotateApiKey">) {
          const { id, overlapMinutes = 0 } = ctx.params;
          const sealed = await this.unitOfWork(ctx, async (work) => {
            const current = await repository.lock(id, work.transaction);
            if (!current) throw apiKeyNotFound(id);
            const { record, key } = rotateApiKey(current, overlapMinutes, work.now);
            work.transaction.enlist(repository.rotate(record, work.transaction));
            work.record({
              type: "api-key-rotated_v1",
              data: toApiKey(record),
              changedFields: ["previousValidUntil"],
            });
            return { subject: id, result: sealKey(record, key) };
          });
          return unsealKey(sealed);
        },
      },

      checkApiKey: {
        visibility: "public",
        params: contract.checkApiKeyParams,
        async handler(ctx: Call<"auth.checkApiKey">): Promise<contract.ApiKeyGrant | null> {
          const { key } = ctx.params;
          const prefix = prefixOf(key);
          const record = prefix === undefined ? undefined : await repository.findUsable(prefix);
          if (!record || !isKeyOf(record, key)) return null;
          if (record.isTouchDue) await repository.touch(record.id);
          return { id: record.id, scopes: record.scopes };
        },
      },
    },
  };
}
