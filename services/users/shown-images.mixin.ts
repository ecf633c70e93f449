import type { Context, ServiceSchema } from "moleculer";
import type { Node } from "../../bootstrap/node.ts";
import { hasType } from "../../broker/errors.ts";
import type { AppServiceSchema } from "../../broker/service-schema.ts";
import type { CloudEvent } from "../../lib/cloud-event.ts";
import { callAsNode, type ActionParams } from "../../lib/contracts.ts";
import { durableConsumer } from "../../mixins/durable-consumer.mixin.ts";
import type { ChangingMethods } from "./account-life.mixin.ts";
import * as contract from "./users.contract.ts";
import * as domain from "./users.domain.ts";

/** Short, as the row of the user is locked meanwhile. What fails is done when the event comes again. */
const ASK_IMAGES = { timeout: 1000, retries: 0 };

/** Of these events every one makes the consumer look at all images of the user. */
const EVENTS = [
  "image-created_v1",
  "image-deleted_v1",
  "user-avatar-changed_v1",
  "user-restored_v1",
] as const;

/**
 * Each takes three connections of the database, one after the other: for itself, for the change, and for the answer of
 * the images service, when that runs on the same node. Were all taken by the first, none would get any further.
 */
const eventsAtOnce = ({ DATABASE_POOL_MAX: connections }: Node["config"]): number =>
  Math.max(1, Math.floor(connections / 4));

/**
 * Keeps `imageUrls` and `avatarUrl` of users as the images service has them. It is asked while the row of the user is
 * locked: whichever of two events about different images is handled last has seen what both have changed.
 */
export function ShownImagesMixin(node: Node): Partial<ServiceSchema> {
  return {
    mixins: [
      durableConsumer(node, {
        name: "users-images",
        events: EVENTS,
        // For an hour or so: the images service may be away for longer than it takes to write a row.
        maxDeliver: 30,
        concurrency: eventsAtOnce(node.config),
        handler: async ({ event, call }) => {
          const id = userToRefresh(event);
          if (id === undefined) return;
          try {
            await call("users.showImages", { id });
          } catch (error) {
            // One that is deleted is left alone; what it shows is looked at when it is restored.
            if (!hasType(error, "USER_NOT_FOUND")) throw error;
          }
        },
      }),
    ],
    actions: SHOW_IMAGES as NonNullable<ServiceSchema["actions"]>,
  };
}

const SHOW_IMAGES: AppServiceSchema<object, ChangingMethods, object>["actions"] = {
  showImages: {
    visibility: "public",
    params: contract.getUserParams,
    idempotent: true,
    handler(ctx: Context<ActionParams<"users.showImages">>) {
      return this.changeUser(ctx, async (record) => {
        domain.requireLiveUser(record, ctx.params.id);
        const shown = await callAsNode(ctx, "images.ofUser", { id: record.id }, ASK_IMAGES);
        return { record, changes: domain.changesToShown(record, shown), event: "user-updated_v1" };
      });
    },
  },
};

/** Of an erased user, events have lost their data: its images went before. */
function userToRefresh({ type, subject, data }: CloudEvent<(typeof EVENTS)[number]>): string | undefined {
  if (type === "user-avatar-changed_v1") return subject;
  if (type === "image-deleted_v1") return data.userId;
  // Private images are not shown.
  if (type === "image-created_v1") return data.visibility === "public" ? data.userId : undefined;
  // Others never had images, and there may be no service of images.
  const { imageUrls = [], avatarUrl = null } = data as Partial<contract.User>;
  return imageUrls.length > 0 || avatarUrl !== null ? subject : undefined;
}
