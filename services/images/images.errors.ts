import { appError } from "../../broker/errors.ts";

export const imageNotFound = (id: string) =>
  appError("IMAGE_NOT_FOUND", { detail: `There is no image '${id}'.` });

export const fileNotFound = () => appError("IMAGE_NOT_FOUND", { detail: "No image has this file." });

export const ownerGone = (userId: string) =>
  appError("USER_NOT_FOUND", { detail: `There is no user '${userId}'.` });

export const avatarNotPublic = () => appError("AVATAR_NOT_PUBLIC");

export const uploadNotFound = (id: string) =>
  appError("UPLOAD_NOT_FOUND", { detail: `There is no upload '${id}'.` });

export const uploadIncomplete = (expected: number, arrived: number) =>
  appError("UPLOAD_INCOMPLETE", { detail: `${arrived} of ${expected} bytes have arrived.` });

/** The bytes are not those that were put there: a second attempt to read them may get the right ones. */
export const bytesDiffer = (key: string) =>
  appError("STORAGE_UNAVAILABLE", {}, new Error(`The bytes of ${key} are not those that were stored.`));

/** For minutes, so that the bytes of the image, which were thought to be left over, are being removed. */
export const heldUp = () =>
  appError("STORAGE_UNAVAILABLE", {}, new Error("It took too long to write the image."));
