/* oxlint-disable max-lines -- one table, which is read as a whole */

/** What the outside sees of one kind of error. */
export interface ErrorDefinition {
  /** HTTP status code. */
  status: number;
  /** Short, constant summary: the `title` of the problem document. */
  title: string;
  /** Whether the same request may succeed when it is simply sent again. */
  retryable: boolean;
  /** What it means and what a client does about it: the text of `docs/errors.md`. */
  description: string;
}

/**
 * The closed list of error codes. Errors travel between nodes as a Moleculer error whose `type` is the code; the
 * gateway turns them into problem documents (RFC 9457). `docs/errors.md` is generated from this table.
 */
export const ERROR_CATALOGUE = {
  VALIDATION_FAILED: {
    status: 400,
    title: "The request is not valid",
    retryable: false,
    description:
      "`errors` names each field or parameter, the rule it broke and why. Correct them and send again.",
  },
  INVALID_CURSOR: {
    status: 400,
    title: "The cursor is not valid",
    retryable: false,
    description:
      "The `cursor` was changed, is from another deployment, or belongs to a list with other filters or another sort. Start again without it.",
  },
  MALFORMED_BODY: {
    status: 400,
    title: "The body cannot be read",
    retryable: false,
    description:
      "The body is not valid JSON in UTF-8 or no valid form, is missing, or does not arrive whole. `detail` says which.",
  },
  MALFORMED_REQUEST: {
    status: 400,
    title: "The request cannot be read",
    retryable: false,
    description: "The request line, the URL or a header is not valid HTTP.",
  },
  RESULT_TOO_LARGE: {
    status: 400,
    title: "The result is too large",
    retryable: false,
    description:
      "What was asked for is larger than what one node can send to another. Ask for a smaller page.",
  },
  AMBIGUOUS_CREDENTIALS: {
    status: 400,
    title: "The request has two credentials",
    retryable: false,
    description: "Send a token in `Authorization` or an API key in `X-Api-Key`, not both.",
  },
  UNAUTHENTICATED: {
    status: 401,
    title: "Credentials are needed",
    retryable: false,
    description:
      "This takes an access token or an API key, and the request has none. `POST /auth/login` gives a token.",
  },
  INVALID_CREDENTIALS: {
    status: 401,
    title: "The email address or the password is wrong",
    retryable: false,
    description:
      "No active user has this email address and this password. It is not said which of them is wrong.",
  },
  INVALID_TOKEN: {
    status: 401,
    title: "The token is not valid",
    retryable: false,
    description:
      "The access token or API key is malformed, expired, revoked or not ours. Get a new one: `POST /auth/refresh`, else log in again.",
  },
  INVALID_REFRESH_TOKEN: {
    status: 401,
    title: "The refresh token is not valid",
    retryable: false,
    description:
      "The refresh token is unknown, expired, or its session has ended. One that is used a second time ends its session, since somebody else may have it. Log in again.",
  },
  ACCOUNT_SUSPENDED: {
    status: 403,
    title: "The account is suspended",
    retryable: false,
    description: "The password or token is right, but an administrator has suspended this user.",
  },
  FORBIDDEN: {
    status: 403,
    title: "This is not allowed to you",
    retryable: false,
    description:
      "The credentials are valid, but not for this: it is about another user, changes what only an admin may change, or the API key lacks the scope. `docs/access.md` lists who may do what.",
  },
  INVALID_SIGNATURE: {
    status: 403,
    title: "The URL is not valid, or no longer",
    retryable: false,
    description: "The signature of the URL does not fit, or its time is over. Ask for a new one.",
  },
  ROUTE_NOT_FOUND: {
    status: 404,
    title: "There is nothing at this path",
    retryable: false,
    description: "No route has this path. Check the spelling and the prefix `/api/v1`.",
  },
  USER_NOT_FOUND: {
    status: 404,
    title: "There is no such user",
    retryable: false,
    description: "No user has this id, or the user is deleted (a deleted user can be restored for 30 days).",
  },
  IMAGE_NOT_FOUND: {
    status: 404,
    title: "There is no such image",
    retryable: false,
    description:
      "No image has this id, or it belongs to somebody else; or the file of an image has no such URL.",
  },
  UPLOAD_NOT_FOUND: {
    status: 404,
    title: "There is no such upload",
    retryable: false,
    description:
      "No upload of this user has this id, it was completed already, or it was not completed in time.",
  },
  API_KEY_NOT_FOUND: {
    status: 404,
    title: "There is no such API key",
    retryable: false,
    description: "No API key has this id, or it is revoked.",
  },
  DEAD_LETTER_NOT_FOUND: {
    status: 404,
    title: "There is no such dead letter",
    retryable: false,
    description: "No durable consumer has given up an event of this id.",
  },
  METHOD_NOT_ALLOWED: {
    status: 405,
    title: "The method is not allowed here",
    retryable: false,
    description: "The path exists, but not with this method. `Allow` lists the methods it has.",
  },
  NOT_ACCEPTABLE: {
    status: 406,
    title: "No acceptable representation",
    retryable: false,
    description:
      "`Accept` allows neither `application/json` nor `application/xml` or, for a stream, not `text/event-stream`. Nothing was executed.",
  },
  // Not REQUEST_TIMEOUT: that is Moleculer's type for a call that was not answered in time.
  REQUEST_TOO_SLOW: {
    status: 408,
    title: "The request took too long to arrive",
    retryable: true,
    description: "The client sent its headers or body too slowly. The connection is closed.",
  },
  EMAIL_TAKEN: {
    status: 409,
    title: "The email address is in use",
    retryable: false,
    description: "Another user, not deleted, has this address. Letter case makes no difference.",
  },
  USER_NOT_DELETED: {
    status: 409,
    title: "The user is not deleted",
    retryable: false,
    description: "Only a deleted user can be restored.",
  },
  RESTORE_WINDOW_CLOSED: {
    status: 409,
    title: "The user can no longer be restored",
    retryable: false,
    description: "The user was deleted more than 30 days ago.",
  },
  UPLOAD_INCOMPLETE: {
    status: 409,
    title: "The upload has not arrived",
    retryable: true,
    description:
      "The bytes have not arrived in the announced size. Send them to the URL of the upload, then complete it again.",
  },
  IDEMPOTENCY_IN_FLIGHT: {
    status: 409,
    title: "The first request with this key is still running",
    retryable: true,
    description:
      "Wait for the first request with this `Idempotency-Key`, or send the same request again later.",
  },
  EVENTS_EXPIRED: {
    status: 410,
    title: "The events are no longer kept",
    retryable: false,
    description:
      "Events after the given position were deleted, because they are older than the log goes back. `detail` says where it begins now. What is missing can only be read from the resources themselves.",
  },
  PRECONDITION_FAILED: {
    status: 412,
    title: "The resource has changed",
    retryable: false,
    description:
      "`If-Match` names another version than the current one. Read the resource again, then decide.",
  },
  PAYLOAD_TOO_LARGE: {
    status: 413,
    title: "The body is too large",
    retryable: false,
    description: "The body is larger than this route takes. `detail` says how much is allowed.",
  },
  UNSUPPORTED_MEDIA_TYPE: {
    status: 415,
    title: "The content type is not supported",
    retryable: false,
    description:
      "Send `application/json` in UTF-8 (for PATCH also `application/merge-patch+json`), an image as `multipart/form-data` or `image/*`, without `Content-Encoding`.",
  },
  UNSUPPORTED_IMAGE_TYPE: {
    status: 415,
    title: "The type of the image is not supported",
    retryable: false,
    description:
      "The bytes are not a JPEG, PNG, WebP, GIF or still AVIF image, whatever `Content-Type` or the name says.",
  },
  RANGE_NOT_SATISFIABLE: {
    status: 416,
    title: "The file has no such part",
    retryable: false,
    description: "`Range` asks for bytes after the end of the file, whose size is in `Content-Range`.",
  },
  IDEMPOTENCY_KEY_REUSED: {
    status: 422,
    title: "The idempotency key was used for another request",
    retryable: false,
    description: "The same `Idempotency-Key` came with other parameters. Use a new key for a new request.",
  },
  IMAGE_UNREADABLE: {
    status: 422,
    title: "The image cannot be read",
    retryable: false,
    description: "The image is damaged, cut off, or takes too much work to read. `detail` says which.",
  },
  IMAGE_TOO_LARGE: {
    status: 422,
    title: "The image has too many pixels",
    retryable: false,
    description:
      "The image has more pixels than are accepted, or takes too much memory to read. `detail` says how many are allowed.",
  },
  AVATAR_NOT_PUBLIC: {
    status: 422,
    title: "The avatar must be public",
    retryable: false,
    description: "Everybody who may see a user sees its avatar, so a private image cannot be one.",
  },
  RATE_LIMITED: {
    status: 429,
    title: "Too many requests",
    retryable: true,
    description:
      "The client has used up a quota, which `RateLimit-Policy` shows. Nothing was executed. Try again after `Retry-After` seconds.",
  },
  TOO_MANY_UPLOADS: {
    status: 429,
    title: "Too many uploads at the same time",
    retryable: true,
    description:
      "The client has uploads under way, and the last places of the gateway are for clients that have none. Nothing was executed. Try again after `Retry-After` seconds, or when one of them has ended.",
  },
  TOO_MANY_DOWNLOADS: {
    status: 429,
    title: "Too many files at the same time",
    retryable: true,
    description:
      "The client is slow to take the files that it has asked for, and the last places of the gateway are for clients that have none. Try again after `Retry-After` seconds, or when it has taken one of them.",
  },
  HEADERS_TOO_LARGE: {
    status: 431,
    title: "The headers are too large",
    retryable: false,
    description: "The headers of the request are larger than 16 KiB in all.",
  },
  INTERNAL_ERROR: {
    status: 500,
    title: "Something went wrong on our side",
    retryable: false,
    description: "An unexpected error. It is in the log under the `requestId`.",
  },
  SERVICE_UNAVAILABLE: {
    status: 503,
    title: "The service is not available",
    retryable: true,
    description: "A service, or the connection to it, is away. Try again after `Retry-After` seconds.",
  },
  DATABASE_UNAVAILABLE: {
    status: 503,
    title: "The database is not available",
    retryable: true,
    description: "The database is away or too busy. Try again after `Retry-After` seconds.",
  },
  STORAGE_UNAVAILABLE: {
    status: 503,
    title: "The storage of images is not available",
    retryable: true,
    description:
      "The storage is away or too slow. Nothing was stored. Try again after `Retry-After` seconds.",
  },
  OVERLOADED: {
    status: 503,
    title: "Too many requests are waiting",
    retryable: true,
    description: "A node has reached its limit of concurrent work. Try again after `Retry-After` seconds.",
  },
  UPSTREAM_TIMEOUT: {
    status: 504,
    title: "The service did not answer in time",
    retryable: true,
    description:
      "No answer came in time, so the outcome is not known. Send a write again with the same `Idempotency-Key`: it is executed at most once.",
  },
} as const satisfies Record<string, ErrorDefinition>;

export type ErrorCode = keyof typeof ERROR_CATALOGUE;

/** Whether `value` is a code of the catalogue. */
export function isErrorCode(value: unknown): value is ErrorCode {
  return typeof value === "string" && Object.hasOwn(ERROR_CATALOGUE, value);
}

/** One field or parameter that broke a rule. */
export interface FieldError {
  field: string;
  rule: string;
  message: string;
}
