import Negotiator from "negotiator";
import type { IncomingMessage } from "node:http";
import type { ServiceBroker } from "moleculer";
import { appError, invalidField } from "../../broker/errors.ts";
import { call } from "../../lib/contracts.ts";
import { largestPreset, type ImagePreset } from "../../lib/image-settings.ts";
import { MEDIA_FORMATS, mediaType, type MediaFormat } from "../../lib/media-path.ts";
import { callingOptions } from "./gateway-request.ts";
import { acceptOf } from "./representation.ts";
import { readQuery, refuseAll } from "./request-parameters.ts";
import type { Answer } from "./rest-handler.ts";

/**
 * Leads to a file of an image: of the preset that the query names, or of the largest, in the format that the client
 * likes best. The redirect is asked for again each time, the file that it leads to never.
 */
export function imageContent(broker: ServiceBroker, presets: readonly ImagePreset[]): Answer {
  return async (request, response) => {
    const { preset: named = largestPreset(presets).name, ...others } = readQuery(request.url);
    refuseAll(others);
    const preset = String(named);
    const { id = "" } = request.params;
    const { urls } = await call(broker, "images.get", { id }, callingOptions(request));
    const files = Object.hasOwn(urls, preset) ? urls[preset] : undefined;
    if (!files) {
      throw invalidField("preset", "enum", `The preset must be one of ${Object.keys(urls).join(", ")}.`);
    }
    const format = preferredFormat(request, Object.keys(files) as MediaFormat[]);
    const url = format && files[format];
    if (url === undefined) throw appError("NOT_ACCEPTABLE");
    response.appendHeader("Vary", "Accept");
    response.setHeader("Cache-Control", "private, no-cache");
    response.writeHead(302, { Location: url, "Content-Length": 0 }).end();
  };
}

/**
 * The format that a client prefers by its quality values; of those that it likes as well, the smallest. A client that
 * only says `image/*` or nothing gets what every client can show.
 */
export function preferredFormat(
  request: Pick<IncomingMessage, "headers">,
  available: readonly MediaFormat[],
): MediaFormat | undefined {
  // Of types that are liked as well, the negotiator takes the one that the client names first, and of those that match
  // the same range, the first of its argument.
  const accept = acceptOf(request)
    ?.split(",")
    .toSorted((a, b) => rankOf(a) - rankOf(b))
    .join(",");
  const formats = MEDIA_FORMATS.filter((format) => available.includes(format)).toReversed();
  const type = new Negotiator({ headers: { accept } }).mediaType(formats.map(mediaType));
  return formats.find((format) => mediaType(format) === type);
}

/** The place of a range of `Accept` among the formats, the smallest files first. */
function rankOf(range: string): number {
  const type = range.split(";")[0]?.trim().toLowerCase();
  const rank = MEDIA_FORMATS.findIndex((format) => mediaType(format) === type);
  return rank === -1 ? MEDIA_FORMATS.length : rank;
}
