import type { Context } from "moleculer";
import type { Node } from "../../bootstrap/node.ts";
import type { AppServiceSchema } from "../../broker/service-schema.ts";
import type { CloudEvent } from "../../lib/cloud-event.ts";
import { callAsNode, requestIdOf, type ActionParams, type ActionResult } from "../../lib/contracts.ts";
import { createListPages } from "../../mixins/list-pages.ts";
import { listEvents } from "../../mixins/list-events.ts";
import * as contract from "./users.contract.ts";
import { requireUser, toUser } from "./users.domain.ts";
import { userNotFound } from "./users.errors.ts";
import type { UsersRepository } from "./users.repository.ts";

/** What the service that mixes this in has. */
interface Host {
  repository: UsersRepository;
}

/** Most events in one part of an export; it also ends where the page of the log does. */
const EXPORTED_EVENTS = 1000;
/** Most images in it; with their URLs each takes 2 KB of the message in which an export goes to the gateway. */
const EXPORTED_IMAGES = 50;

/** The actions that tell what is kept about an account: all of it for its user, its changes for an administrator. */
export function AccountRecordsMixin({
  secret,
}: Pick<Node, "secret">): Pick<AppServiceSchema<object, object, Host>, "actions"> {
  const pages = createListPages(secret);

  return {
    actions: {
      export: {
        visibility: "published",
        params: contract.exportUserParams,
        async handler(ctx: Context<ActionParams<"users.export">>): Promise<contract.UserExport> {
          const { id, eventsAfter: after } = ctx.params;
          const record = await this.repository.find(id);
          requireUser(record, id);
          const [auth, page, images] = await Promise.all([
            callAsNode(ctx, "auth.exportUser", { userId: record.id }),
            eventsAbout(ctx, { id, after, limit: EXPORTED_EVENTS }),
            imagesOf(ctx, record.id),
          ]);
          return {
            user: toUser(record),
            auth,
            images,
            events: page.data,
            nextEventsAfter: page.nextAfter < page.lastSequence ? page.nextAfter : null,
          };
        },
      },

      history: {
        visibility: "published",
        params: contract.userHistoryParams,
        async handler(ctx: Context<contract.UserHistory>): Promise<contract.HistoryPage> {
          const { id, limit, cursor } = ctx.params;
          const scope = { list: "history", id: id.toLowerCase() };
          const position = pages.startOf(cursor, scope);
          const after = position && Number(position[0]);
          // One more, so that a page that ends with the last event is known to be the last.
          const page = await eventsAbout(ctx, { id, after, limit: limit + 1 });
          if (!position && page.data.length === 0 && !(await this.repository.find(id)))
            throw userNotFound(id);

          const events = page.data.slice(0, limit);
          const isLast = events.length === page.data.length && page.nextAfter >= page.lastSequence;
          const last = events.length < page.data.length ? Number(events.at(-1)?.sequence) : page.nextAfter;
          return {
            data: events.map(toHistoryEntry),
            nextCursor: isLast ? null : pages.cursorAfter([last], scope),
          };
        },
      },
    },
  };
}

/** The log is not for users; what is about oneself is. */
function eventsAbout(
  ctx: Context,
  { id, after, limit }: { id: string; after: number | undefined; limit: number },
): Promise<ActionResult<"events.list">> {
  const params = { subject: id, limit, ...(after !== undefined && { after }) };
  return listEvents(ctx.broker, params, { requestID: requestIdOf(ctx) });
}

/** Null when no node has the service of images, which a system need not have. */
async function imagesOf(ctx: Context, id: string): Promise<ActionResult<"images.list"> | null> {
  try {
    // From the primary, as everything of the export.
    return await callAsNode(ctx, "images.list", { id, limit: EXPORTED_IMAGES }, { meta: { $cache: false } });
  } catch (error) {
    const { type } = error as { type?: unknown };
    if (type === "SERVICE_NOT_FOUND") return null;
    // For the images service, a deleted user is not there.
    if (type === "USER_NOT_FOUND") return { data: [], nextCursor: null };
    throw error;
  }
}

function toHistoryEntry(event: CloudEvent): contract.HistoryEntry {
  const { time, type, actor, changedfields, requestid, data } = event;
  return {
    time,
    type,
    actor,
    changedFields: changedfields === "" ? [] : changedfields.split(","),
    version: "version" in data ? data.version : null,
    requestId: requestid,
  };
}
