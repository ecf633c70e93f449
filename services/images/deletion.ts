import type { DatabaseTransaction } from "../../lib/database-connection.ts";
import type { DomainEvent, SubjectEvent } from "../../mixins/unit-of-work.store.ts";
import { DELETED_VERSION, type ImageRecord } from "./images.domain.ts";
import type { ImagesRepository } from "./images.repository.ts";

/**
 * Deletes the row of an image that the transaction has locked; its bytes are then left to the remover.
 *
 * @returns the events of it
 */
export async function deleteImage(
  images: ImagesRepository,
  { id, userId }: Pick<ImageRecord, "id" | "userId">,
  transaction: DatabaseTransaction,
): Promise<SubjectEvent[]> {
  const wasAvatar = await images.dropAvatar(id, transaction);
  await images.delete(id, transaction);
  const events = [{ subject: id, event: imageDeleted(id, userId) }];
  if (wasAvatar) events.push({ subject: userId, event: avatarChanged(userId, null) });
  return events;
}

export function imageDeleted(id: string, userId: string): DomainEvent {
  return { type: "image-deleted_v1", data: { id, userId, version: DELETED_VERSION }, changedFields: [] };
}

export function avatarChanged(userId: string, imageId: string | null): DomainEvent {
  return { type: "user-avatar-changed_v1", data: { id: userId, imageId }, changedFields: ["imageId"] };
}
