import { appError } from "../../broker/errors.ts";
import { directUploadPath } from "../../lib/media-path.ts";
import { createUrlSigner } from "../../lib/signed-url.ts";
import type { GatewayRequest, RequestHandler } from "./gateway-request.ts";
import { ANONYMOUS } from "./guard.ts";
import { pathOf, sendAllowed, sendEmpty, sendProblem } from "./respond.ts";
import type { RestHandlerParts } from "./rest-handler.ts";

/** Where a client puts the bytes of an upload when the storage has no address of its own. */
export const DIRECT_UPLOAD_PATH = directUploadPath(":uploadId");

const ALLOWED = "PUT, OPTIONS";

const WRONG_SIGNATURE =
  "The time of the URL is over, or it is not for this path with this Content-Type and this Content-Length.";

/**
 * Takes the bytes of an upload at a signed URL, which says their size and type and is all that the client needs. Until
 * the upload is completed, bytes that are sent again replace those before.
 *
 * @param secret the node's SECRET
 */
export function directUploadHandler(
  { uploads, limits, log }: Pick<RestHandlerParts, "uploads" | "limits" | "log">,
  secret: string,
): RequestHandler {
  const signer = createUrlSigner(secret);

  /** @throws INVALID_SIGNATURE */
  const requireSignature = (request: GatewayRequest): string => {
    const { "content-length": bytes = "", "content-type": contentType = "" } = request.headers;
    const path = pathOf(request);
    const [, query = ""] = request.url.split("?");
    const expiry = signer.verify({ method: "PUT", path, bytes: Number(bytes), contentType }, query);
    if (expiry === undefined) throw appError("INVALID_SIGNATURE", { detail: WRONG_SIGNATURE });
    return contentType;
  };

  return async function handle(request, response) {
    try {
      if (request.method !== "PUT") {
        sendAllowed(request, response, ALLOWED);
        return;
      }
      const intent = { action: "images.startUpload", isRead: false, principal: ANONYMOUS } as const;
      await limits?.admit(request, response, intent);
      const contentType = requireSignature(request);
      const { uploadId = "" } = request.params;
      await uploads.store(request, uploadId, contentType);
      sendEmpty(response, 204);
    } catch (error) {
      sendProblem(request, response, error, log);
    }
  };
}
