import type { DatabaseTransaction } from "../../lib/database-connection.ts";
import type { DomainEvent } from "../../mixins/unit-of-work.store.ts";
import { DELETED_VERSION, type ImageRecord } from "./images.domain.ts";
import type { ImagesRepository } from "./images.repository.ts";

/** Appends an event about a resource. */
type Record = (subject: string, event: DomainEvent) => void;

/** Deletes the row of an image that the transaction has locked; its bytes are then left to the remover. */
export async function deleteImage(
  images: ImagesRepository,
  { id, userId }: Pick<ImageRecord, "id" | "userId">,
  transaction: DatabaseTransaction,
  record: Record,
): Promise<void> {
  const wasAvatar = await images.dropAvatar(id, transaction);
  await images.delete(id, transaction);
  record(id, imageDeleted(id, userId));
  if (wasAvatar) record(userId, avatarChanged(userId, null));
}

export function imageDeleted(id: string, userId: string): DomainEvent {
  return { type: "image-deleted_v1", data: { id, userId, version: DELETED_VERSION }, changedFields: [] };
}

export function avatarChanged(userId: string, imageId: string | null): DomainEvent {
  return { type: "user-avatar-changed_v1", data: { id: userId, imageId }, changedFields: ["imageId"] };
}
