import { appError } from "../../broker/errors.ts";

export const invalidCredentials = () => appError("INVALID_CREDENTIALS");

export const invalidRefreshToken = () => appError("INVALID_REFRESH_TOKEN");

export const accountSuspended = () => appError("ACCOUNT_SUSPENDED");

export const notAUser = () => appError("INVALID_TOKEN", { detail: "This needs the access token of a user." });

export const apiKeyNotFound = (id: string) =>
  appError("API_KEY_NOT_FOUND", { detail: `There is no API key '${id}'.` });
