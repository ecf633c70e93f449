import type { ServiceSchema } from "moleculer";
import type { Node } from "../../bootstrap/node.ts";
import { durableConsumer } from "../../mixins/durable-consumer.mixin.ts";
import { forget } from "../../mixins/unit-of-work.store.ts";
import { imageDeleted } from "./deletion.ts";
import type { ImagesRepository } from "./images.repository.ts";
import type { Remover } from "./remover.ts";
import type { UploadsRepository } from "./uploads.repository.ts";

interface OwnerConsumerParts {
  images: ImagesRepository;
  uploads: UploadsRepository;
  remover: Remover;
}

/**
 * Removes the images of users that are deleted or erased. An upload that is under way ends before, and is removed too, or
 * finds that its user is gone. What a restored user has uploaded since stays: it is of a later version of the user.
 */
export function ownerConsumer(
  node: Node,
  { images, uploads, remover }: OwnerConsumerParts,
): Partial<ServiceSchema> {
  return durableConsumer(node, {
    name: "images-owners",
    events: ["user-deleted_v1", "user-erased_v1"],
    // For an hour or so: given up, it would leave what is to be erased.
    maxDeliver: 30,
    concurrency: 2,
    handler: async ({ event: { type, subject: userId, data }, transaction, record }) => {
      // Creations lock the owner before the upload, too.
      images.markGone(userId, data.version, transaction);
      const pending = await uploads.deleteOfUser(userId, data.version, transaction);
      let hasDeleted = false;
      for await (const ids of images.deleteOfUser(userId, data.version, transaction)) {
        for (const id of ids) record(id, imageDeleted(id, userId));
        hasDeleted = true;
      }
      if (type === "user-erased_v1") {
        for await (const ids of images.takeDeleted(userId, transaction)) await forget(transaction, ids);
      }
      transaction.afterCommit(() => {
        if (hasDeleted) remover.wake();
        // Not waited for: the storage may be away, and what cannot be removed now is swept.
        if (pending.length > 0) void remover.removeUploads(pending);
      });
    },
  });
}
