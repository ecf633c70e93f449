import { Serializers, type Middleware } from "moleculer";
import { actionMiddleware } from "./action-middleware.ts";

/*
 * Large results that only pass through their caller, such as a page on its way to an HTTP client, are made JSON once, by
 * the node that has them. A caller asks for that with a header of the call; without it, it gets the result as ever.
 */

/** Header of a call that takes its result as a {@link JsonText}; the value is the name of the member it needs beside. */
export const JSON_TEXT_HEADER = "json-text-with";

/** A result as JSON, with the one member that its caller looks at. */
export class JsonText {
  readonly bytes: Buffer;
  readonly member: unknown;

  constructor(bytes: Buffer, member: unknown) {
    this.bytes = bytes;
    this.member = member;
  }
}

/** Makes a JsonText of the result of an action, an object, for callers that ask for one. */
export const jsonTextMiddleware: Middleware = {
  name: "JsonText",
  localAction: actionMiddleware((next) => (ctx) => {
    const name: unknown = ctx.headers[JSON_TEXT_HEADER];
    return typeof name === "string" ? toJsonText(next(ctx), name) : next(ctx);
  }),
};

async function toJsonText(calling: Promise<unknown>, name: string): Promise<JsonText> {
  const result = (await calling) as Record<string, unknown>;
  return new JsonText(Buffer.from(JSON.stringify(result)), result[name]);
}

/** What comes before the number of bytes, and between it and them. */
const START = '{"jsonTextBytes":';
const DATA = ',"data":';

/**
 * Moleculer's JSON serializer, for which a JsonText is a member of the packet that is copied, not written or parsed. The
 * packet is JSON all the same: it begins with the length of its data, so that a reader can, but need not, step over it.
 */
export class JsonTextSerializer extends Serializers.JSON {
  override serialize(packet: Record<string, unknown>): Buffer {
    if (!(packet["data"] instanceof JsonText)) return super.serialize(packet);
    const { data, ...others } = packet as { data: JsonText };
    const rest = JSON.stringify({ member: data.member, ...others });
    return Buffer.concat([
      Buffer.from(`${START}${data.bytes.length}${DATA}`),
      data.bytes,
      Buffer.from(`,${rest.slice(1)}`),
    ]);
  }

  override deserialize(packet: Buffer): Record<string, unknown> {
    if (packet.toString("latin1", 0, START.length) !== START)
      return super.deserialize(packet) as Record<string, unknown>;
    const begin = packet.indexOf(DATA) + DATA.length;
    const end = begin + Number.parseInt(packet.toString("latin1", START.length, begin), 10);
    const { member, ...others } = JSON.parse(`{${packet.toString("utf8", end + 1)}`) as { member: unknown };
    return { ...others, data: new JsonText(packet.subarray(begin, end), member) };
  }
}
