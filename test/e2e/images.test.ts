import { createHash } from "node:crypto";

import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import sharp from "sharp";

import { adminClient, logIn } from "../support/admin.ts";
import { createImage, imagesOf, sendFile, urlsOf, type ImageBody } from "../support/images-over-http.ts";
import { fileForm, formOf } from "../support/multipart.ts";
import { noisePicture } from "../support/pictures.ts";
import { fieldsOf, problemOf } from "../support/problems.ts";
import { newUser, RestClient, type UserBody } from "../support/rest-client.ts";
import { startRollcall, type Rollcall } from "../support/rollcall-process.ts";
import { waitFor } from "../support/wait-for.ts";

const LIMIT_BYTES = 10_485_760;
const PASSWORD = "correct horse battery staple";

/** Everything in one process, without other servers. */
let node: Rollcall;
let admin: RestClient;
/** Without credentials. */
let visitor: RestClient;
let user: UserBody;
/** Logged in as the user. */
let client: RestClient;

beforeAll(async () => {
  node = await startRollcall({ env: { SIGNUP: "open" } });
  admin = await adminClient(node.url);
  visitor = new RestClient(node.url);
  ({ user, client } = await signUp());
});

afterAll(async () => {
  for (const each of [admin, visitor, client]) each.close();
  await node.stop();
});

async function signUp(): Promise<{ user: UserBody; client: RestClient }> {
  const created = await visitor.post("/api/v1/users", newUser({ password: PASSWORD }));
  const { email } = created.json as UserBody;
  const token = await logIn(node.url, { email, password: PASSWORD });
  return { user: created.json as UserBody, client: new RestClient(node.url, { token }) };
}

/** What a user shows, once it is this. */
async function untilShown(userId: string, expected: { imageUrls: string[]; avatarUrl: string | null }) {
  await waitFor(
    async () => {
      const { json } = await admin.get(`/api/v1/users/${userId}`);
      expect(json).toMatchObject(expected);
      return true;
    },
    { description: `the user to show ${JSON.stringify(expected)}` },
  );
}

describe("an uploaded image", () => {
  test("is served in every preset and format, and shown by its user until it is deleted", async () => {
    const content = await noisePicture({ width: 700, height: 500, format: "jpeg" });
    const response = await sendFile(client, imagesOf(user.id), content);
    const image = response.json as ImageBody;
    expect(response).toMatchObject({
      status: 201,
      headers: { location: `/api/v1/images/${image.id}` },
      json: {
        userId: user.id,
        visibility: "public",
        format: "jpeg",
        width: 700,
        height: 500,
        bytes: content.length,
        sha256: createHash("sha256").update(content).digest("hex"),
        urlsExpireAt: null,
        version: 1,
      },
    });
    expect((await client.get(`/api/v1/images/${image.id}`)).json).toEqual(image);

    expect(Object.keys(image.urls)).toEqual(["thumb", "small", "medium", "large"]);
    for (const [preset, side] of Object.entries({ thumb: 64, small: 256, medium: 640, large: 700 })) {
      for (const [format, url] of Object.entries(image.urls[preset] ?? {})) {
        const file = await visitor.get(url);
        expect(file).toMatchObject({ status: 200, headers: { "content-type": `image/${format}` } });
        expect((await sharp(file.bytes).metadata()).width).toBe(side);
      }
    }

    const shown = image.urls["large"]?.["jpeg"] ?? "";
    await untilShown(user.id, { imageUrls: [shown], avatarUrl: null });
    const avatar = await client.request("PUT", `/api/v1/users/${user.id}/avatar`, {
      body: { imageId: image.id },
    });
    expect(avatar).toMatchObject({ status: 200, json: { id: image.id } });
    await untilShown(user.id, { imageUrls: [shown], avatarUrl: shown });
    expect((await client.request("DELETE", `/api/v1/users/${user.id}/avatar`)).status).toBe(204);
    await untilShown(user.id, { imageUrls: [shown], avatarUrl: null });

    expect((await client.request("DELETE", `/api/v1/images/${image.id}`)).status).toBe(204);
    expect(problemOf(await client.get(`/api/v1/images/${image.id}`)).code).toBe("IMAGE_NOT_FOUND");
    await untilShown(user.id, { imageUrls: [], avatarUrl: null });
    await waitFor(async () => (await visitor.get(shown)).status === 404, { description: "the file to go" });
  });

  test("may come as the bytes themselves, below /profiles too, and in XML", async () => {
    const content = await noisePicture({ format: "webp" });
    const path = `/api/v1/profiles/${user.id}/images`;
    const response = await client.post(path, content, {
      "content-type": "image/webp",
      accept: "application/xml",
    });
    expect(response).toMatchObject({ status: 201, headers: { "content-type": "application/xml" } });
    expect(response.text).toContain(`<userId>${user.id}</userId>`);
  });

  test("is made once for one Idempotency-Key, and another image is another request", async () => {
    const key = { "idempotency-key": "photo-1" };
    const content = await noisePicture();
    const first = await sendFile(client, imagesOf(user.id), content, key);
    const again = await sendFile(client, imagesOf(user.id), content, key);
    expect(again).toMatchObject({ status: 201, headers: { "idempotent-replayed": "true" } });
    expect(again.json).toEqual(first.json);
    const other = await sendFile(client, imagesOf(user.id), await noisePicture(), key);
    expect(problemOf(other).code).toBe("IDEMPOTENCY_KEY_REUSED");
  });

  test("is in the history of its user, the newest first, page by page", async () => {
    const { id } = await admin.createUser();
    const ids: string[] = [];
    for (let count = 0; count < 3; count += 1) ids.unshift((await createImage(admin, id)).id);
    const first = await admin.get(`${imagesOf(id)}?limit=2`);
    const { data, nextCursor } = first.json as { data: ImageBody[]; nextCursor: string };
    const second = await admin.get(`${imagesOf(id)}?limit=2&cursor=${nextCursor}`);
    expect(data.map((image) => image.id)).toEqual(ids.slice(0, 2));
    expect(second.json).toMatchObject({ data: [{ id: ids[2] }], nextCursor: null });
    expect(fieldsOf(problemOf(await admin.get(`${imagesOf(id)}?page=2`)))).toEqual(["page"]);
  });

  test("leads to a file in the format that the client likes best, which may be read in parts", async () => {
    const { id } = await createImage(client, user.id);
    const browser = "image/avif,image/webp,image/*,*/*;q=0.8";
    const content = await client.get(`/api/v1/images/${id}/content?preset=small`, { accept: browser });
    expect(content).toMatchObject({ status: 302, headers: { vary: "Accept" } });
    const { location = "" } = content.headers;
    const whole = await visitor.get(location, { accept: browser });
    expect(whole.headers["content-type"]).toBe("image/avif");
    const part = await visitor.get(location, { range: "bytes=10-19" });
    expect(part).toMatchObject({ status: 206, headers: { "content-length": "10" } });
    expect(part.bytes.equals(whole.bytes.subarray(10, 20))).toBe(true);
    const { etag = "" } = whole.headers;
    expect((await visitor.get(location, { "if-none-match": etag })).status).toBe(304);
  });

  test("that is private is served only at URLs that are signed", async () => {
    const image = await createImage(client, user.id, { query: "?visibility=private" });
    const [url = ""] = urlsOf(image);
    expect(image).toMatchObject({ visibility: "private", urlsExpireAt: expect.any(String) });
    expect((await visitor.get(url)).status).toBe(200);
    const [path = ""] = url.split("?");
    for (const wrong of [path, path.replace("/private", ""), url.replace(/expires=\d/, "expires=9")]) {
      expect([403, 404]).toContain((await visitor.get(wrong)).status);
    }
    const avatar = await client.request("PUT", `/api/v1/users/${user.id}/avatar`, {
      body: { imageId: image.id },
    });
    expect(problemOf(avatar).code).toBe("AVATAR_NOT_PUBLIC");
  });

  test("is not there for another user", async () => {
    const image = await createImage(client, user.id);
    const { user: stranger, client: other } = await signUp();
    try {
      const path = `/api/v1/images/${image.id}`;
      expect(problemOf(await other.get(path)).code).toBe("IMAGE_NOT_FOUND");
      expect(problemOf(await other.get(`${path}/content`)).code).toBe("IMAGE_NOT_FOUND");
      expect(problemOf(await other.request("DELETE", path)).code).toBe("IMAGE_NOT_FOUND");
      const avatar = `/api/v1/users/${stranger.id}/avatar`;
      const stolen = await other.request("PUT", avatar, { body: { imageId: image.id } });
      expect(problemOf(stolen).code).toBe("IMAGE_NOT_FOUND");
      expect((await sendFile(other, imagesOf(user.id), await noisePicture())).status).toBe(403);
    } finally {
      other.close();
    }
    expect((await client.get(`/api/v1/images/${image.id}`)).status).toBe(200);
  });
});

describe("an upload is refused", () => {
  const svg = '<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>';
  const cases: [string, () => Promise<Buffer>, number, string][] = [
    ["that is an SVG", async () => Buffer.from(svg), 415, "UNSUPPORTED_IMAGE_TYPE"],
    ["that is text", async () => Buffer.from("hello"), 415, "UNSUPPORTED_IMAGE_TYPE"],
    [
      "that is cut off",
      async () => (await noisePicture({ width: 400, height: 400, format: "jpeg" })).subarray(0, 20_000),
      422,
      "IMAGE_UNREADABLE",
    ],
    ["that is empty", async () => Buffer.alloc(0), 400, "MALFORMED_BODY"],
    ["that is larger than is taken", async () => Buffer.alloc(LIMIT_BYTES + 1), 413, "PAYLOAD_TOO_LARGE"],
  ];

  test.each(cases)("%s", async (_what, content, status, code) => {
    const response = await sendFile(client, imagesOf(user.id), await content());
    expect(response.status).toBe(status);
    expect(problemOf(response).code).toBe(code);
  });

  test("that is too large also when its length is not announced", async () => {
    const response = await client.post(imagesOf(user.id), Buffer.alloc(LIMIT_BYTES + 1), {
      "content-type": "image/jpeg",
      "transfer-encoding": "chunked",
    });
    expect(problemOf(response).code).toBe("PAYLOAD_TOO_LARGE");
  });

  test("with anything but one file in its field, and the field is named", async () => {
    const file = { name: "file", filename: "a.png", content: await noisePicture() };
    const forms = {
      photo: [{ ...file, name: "photo" }],
      file: [file, file],
      visibility: [file, { name: "visibility", content: "private" }],
    };
    for (const [field, parts] of Object.entries(forms)) {
      const { body, headers } = formOf(parts);
      expect(fieldsOf(problemOf(await client.post(imagesOf(user.id), body, headers)))).toEqual([field]);
    }
  });

  test("as JSON, and for a user that is not there", async () => {
    expect(problemOf(await client.post(imagesOf(user.id), { file: "x" })).code).toBe(
      "UNSUPPORTED_MEDIA_TYPE",
    );
    const nobody = imagesOf("01890a5d-ac96-774b-bcce-b302099a8057");
    expect(problemOf(await sendFile(admin, nobody, await noisePicture())).code).toBe("USER_NOT_FOUND");
  });
});

test("what a client says of a file, its name and its type, is not believed and leads nowhere", async () => {
  const content = await noisePicture({ format: "png" });
  const names = ["../../../etc/passwd", "C:\\boot.ini", "写真\u202e.gpj", "a\0b", "x".repeat(5000), ""];
  for (const name of names) {
    const { body, headers } = fileForm(content, name, "text/html");
    const response = await client.post(imagesOf(user.id), body, headers);
    expect(response).toMatchObject({ status: 201, json: { format: "png" } });
  }
});

test("nothing is left of an upload whose user is deleted meanwhile", async () => {
  const { id } = await admin.createUser();
  const content = await noisePicture({ width: 1500, height: 1500, format: "jpeg" });
  const uploads = Array.from({ length: 4 }, () => sendFile(admin, imagesOf(id), content));
  const deleted = await admin.request("DELETE", `/api/v1/users/${id}`);
  expect(deleted.status).toBe(204);
  const images = (await Promise.all(uploads)).filter(({ status }) => status === 201);
  const urls = images.flatMap(({ json }) => urlsOf(json as ImageBody));
  const ids = images.map(({ json }) => (json as ImageBody).id);
  await waitFor(
    async () => {
      const answers = [...urls, ...ids.map((each) => `/api/v1/images/${each}`)].map((url) => admin.get(url));
      return (await Promise.all(answers)).every(({ status }) => status === 404);
    },
    { description: "all images to go with their user", intervalMs: 200 },
  );
});
