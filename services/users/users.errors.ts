import { appError } from "../../broker/errors.ts";

export const userNotFound = (id: string) =>
  appError("USER_NOT_FOUND", { detail: `There is no user '${id}'.` });

export const noUserWithEmail = () =>
  appError("USER_NOT_FOUND", { detail: "No user has this email address." });

export const emailTaken = () =>
  appError("EMAIL_TAKEN", {
    errors: [{ field: "email", rule: "unique", message: "Another user has this email address." }],
  });

export const userNotDeleted = (id: string) =>
  appError("USER_NOT_DELETED", { detail: `The user '${id}' is not deleted.` });

export const restoreWindowClosed = (days: number) =>
  appError("RESTORE_WINDOW_CLOSED", {
    detail: `A user can be restored for ${days} days after it was deleted.`,
  });

export const versionMismatch = (current: number) =>
  appError("PRECONDITION_FAILED", { detail: `The current version is ${current}.` });

export const onlyAdminsGive = (field: string) =>
  appError("FORBIDDEN", {
    errors: [
      {
        field,
        rule: "admin",
        message: `With an external issuer only an admin gives the '${field}' of a user.`,
      },
    ],
  });
