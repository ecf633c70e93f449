import { readdir, utimes } from "node:fs/promises";
import { request as openRequest, type ClientRequest } from "node:http";
import { join } from "node:path";

import { afterAll, beforeAll, expect, test } from "@jest/globals";

import { adminClient, logIn } from "../support/admin.ts";
import { createTestDatabase, queryOnce, type TestDatabase } from "../support/databases.ts";
import { QUICK_FILES, QUICK_IMAGES } from "../support/image-uploads.ts";
import { createImage, imagesOf, sendFile, type ImageBody } from "../support/images-over-http.ts";
import { MetricsText } from "../support/metrics-text.ts";
import { fileForm } from "../support/multipart.ts";
import { noisePicture } from "../support/pictures.ts";
import { problemOf } from "../support/problems.ts";
import { freePort } from "../support/ports.ts";
import { sendAndAbort } from "../support/raw-http.ts";
import { newUser, RestClient, type UserBody } from "../support/rest-client.ts";
import { runRollcall, startRollcall, type Rollcall } from "../support/rollcall-process.ts";
import { temporaryDir } from "../support/test-run.ts";
import { waitFor } from "../support/wait-for.ts";

const ABORTS = 1_000;
const WARM_UP = 500;
const AT_A_TIME = 10;
/** So few that one that is not given back is missed. */
const UPLOADS_MAX = 12;
/** Of a client that is alone. */
const UPLOADS_OF_ONE = 10;
const TWO_HOURS_MS = 7_200_000;

let database: TestDatabase;
let env: Record<string, string>;
let node: Rollcall;
let client: RestClient;
let userId: string;
/** A form and raw bytes, with the headers of a request that sends them. */
let requests: { head: string; body: string }[];

beforeAll(async () => {
  database = await createTestDatabase();
  env = {
    ...QUICK_IMAGES,
    // Frees soon what is not needed any more; a heap without limits may grow by hundreds of megabytes before.
    NODE_OPTIONS: "--max-semi-space-size=4 --max-old-space-size=80",
    DATABASE_URL: database.url,
    DATA_DIR: temporaryDir("data"),
    TMPDIR: temporaryDir("tmp"),
    METRICS_PORT: String(await freePort()),
    IMAGE_UPLOADS_MAX: String(UPLOADS_MAX),
  };
  await start();
  ({ id: userId } = await client.createUser());
  const picture = await noisePicture({ width: 150, height: 150 });
  const form = fileForm(picture);
  requests = [
    { type: form.headers["content-type"], body: form.body },
    { type: "image/png", body: picture },
  ].map(({ type, body }) => ({ head: headOf(type, body.length), body: body.toString("latin1") }));
});

afterAll(async () => {
  client.close();
  await node.stop();
  await database.drop();
});

async function start(): Promise<void> {
  node = await startRollcall({ env });
  client = await adminClient(node.url);
}

const headOf = (type: string, length: number): string =>
  `POST ${imagesOf(userId)} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer ${client.token}\r\n` +
  `Content-Type: ${type}\r\nContent-Length: ${length}\r\n\r\n`;

/** Breaks off uploads, each after a random part of it, some of them after all of it. */
async function abortUploads(count: number): Promise<void> {
  let left = count;
  const abortMany = async (): Promise<void> => {
    while (left > 0) {
      left -= 1;
      const { head, body } = requests[left % requests.length] ?? { head: "", body: "" };
      const whole = head + body;
      await sendAndAbort(node.url, whole.slice(0, Math.ceil(Math.random() * whole.length * 1.02)));
    }
  };
  await Promise.all(Array.from({ length: AT_A_TIME }, abortMany));
}

/** Makes as many images at a time as the gateway takes from one client: none of the aborted may hold a place for good. */
async function fillAllPlaces(): Promise<void> {
  const picture = await noisePicture();
  await waitFor(
    async () => {
      const uploads = Array.from({ length: UPLOADS_OF_ONE }, () =>
        sendFile(client, imagesOf(userId), picture),
      );
      return (await Promise.all(uploads)).every(({ status }) => status === 201);
    },
    { description: `${UPLOADS_OF_ONE} uploads at a time`, timeoutMs: 90_000 },
  );
}

async function residentBytes(): Promise<number> {
  const metrics = new RestClient(`http://127.0.0.1:${env["METRICS_PORT"]}`);
  const { text } = await metrics.get("/metrics");
  metrics.close();
  return new MetricsText(text).value("process_resident_memory_bytes") ?? Infinity;
}

/** The files below a folder of the storage. */
async function storedFiles(folder = ""): Promise<string[]> {
  const path = join(env["DATA_DIR"] ?? "", "images", folder);
  const entries = await readdir(path, { recursive: true, withFileTypes: true }).catch(() => []);
  return entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
}

/** What the gateway of this process has in the folder for temporary files. */
async function temporaryFiles(pid: number): Promise<string[]> {
  const parent = env["TMPDIR"] ?? "";
  const names = await readdir(parent);
  const folders = names.filter((name) => name.startsWith(`rollcall-uploads-${pid}-`));
  const files = await Promise.all(folders.map((folder) => readdir(join(parent, folder))));
  return files.flat();
}

test("a thousand uploads that are broken off at any point leave nothing, and hold nothing", async () => {
  await abortUploads(WARM_UP);
  await fillAllPlaces();
  const before = await residentBytes();

  await abortUploads(ABORTS);
  await fillAllPlaces();

  await waitFor(async () => (await temporaryFiles(node.pid)).length === 0, {
    description: "no upload to be left on the disk of the gateway",
  });
  await waitFor(async () => (await storedFiles("uploads")).length === 0, {
    description: "no upload to be left in the storage",
  });
  const isMemoryBack = async (): Promise<boolean> => {
    // A node that has nothing to do collects no garbage.
    await abortUploads(AT_A_TIME);
    return (await residentBytes()) < before * 1.2;
  };
  await waitFor(isMemoryBack, { description: `the memory to be within 20 % of ${before}` });
  expect(node.log.filter(({ msg }) => msg === "unexpected error")).toEqual([]);
});

test("after a kill in the middle of uploads, a reconcile leaves no bytes without an image and no image without bytes", async () => {
  const upload = async (): Promise<void> => {
    // Until the process is gone.
    for (;;) await createImage(client, userId);
  };
  const uploads = Array.from({ length: UPLOADS_MAX }, () => upload().catch(() => undefined));
  const aborts = abortUploads(ABORTS).catch(() => undefined);
  await waitFor(async () => (await temporaryFiles(node.pid)).length > 0, {
    description: "uploads",
    intervalMs: 1,
  });
  const { pid } = node;
  await node.kill();
  await Promise.all([...uploads, aborts]);
  client.close();

  await start();
  expect(await temporaryFiles(pid)).toEqual([]);
  await fillAllPlaces();
  await node.stop();
  await letTwoHoursPass();
  const program = "reconcile-command.ts";
  const fixed = await runRollcall({ env, program, args: ["--fix"] });
  expect(fixed.exitCode).toBe(0);
  const again = await runRollcall({ env, program });
  expect(again).toMatchObject({ exitCode: 0, output: expect.stringContaining(": 0 do not fit") });

  await start();
  const images = await allImages();
  const expected = [images.length, images.length * QUICK_FILES.length];
  await waitFor(
    async () => {
      const stored = [await storedFiles("originals"), await storedFiles("media")];
      expect(stored.map(({ length }) => length)).toEqual(expected);
      return true;
    },
    { description: "all that the killed process began to be gone" },
  );
  const [url = ""] = images.flatMap(({ urls }) => Object.values(urls["large"] ?? {}));
  expect((await client.get(url)).status).toBe(200);
});

/** Begins an upload that does not go on. */
function beginUpload(): ClientRequest {
  const upload = openRequest(node.url + imagesOf(userId), {
    agent: false,
    method: "POST",
    headers: {
      authorization: `Bearer ${client.token}`,
      "content-type": "image/png",
      "content-length": 1000,
    },
  });
  // It is broken off in the end.
  upload.on("error", () => undefined);
  upload.write("x");
  return upload;
}

test("a user whose uploads are many and slow does not shut others out", async () => {
  const password = "correct horse battery staple";
  const { json } = await client.post("/api/v1/users", newUser({ password }));
  const { id, email } = json as UserBody;
  const other = new RestClient(node.url, { token: await logIn(node.url, { email, password }) });
  const picture = await noisePicture();

  const slow = Array.from({ length: UPLOADS_OF_ONE }, beginUpload);
  await waitFor(async () => (await temporaryFiles(node.pid)).length === UPLOADS_OF_ONE, {
    description: "the slow uploads",
  });
  const refused = await sendFile(client, imagesOf(userId), picture);
  const uploaded = await sendFile(other, imagesOf(id), picture);
  for (const upload of slow) upload.destroy();
  other.close();

  expect(problemOf(refused)).toMatchObject({ status: 429, code: "TOO_MANY_UPLOADS", retryable: true });
  expect(refused.headers["retry-after"]).toBe("2");
  expect(uploaded.status).toBe(201);
});

/** What is young is left alone, as it might belong to something that is under way. */
async function letTwoHoursPass(): Promise<void> {
  const then = new Date(Date.now() - TWO_HOURS_MS);
  for (const file of await storedFiles()) await utimes(file, then, then);
  await queryOnce(database.url, "UPDATE images.removals SET not_before = not_before - interval '2 hours'");
}

async function allImages(): Promise<ImageBody[]> {
  const images: ImageBody[] = [];
  for (let cursor: string | null = ""; cursor !== null;) {
    const response = await client.get(`${imagesOf(userId)}?limit=100${cursor && `&cursor=${cursor}`}`);
    const page = response.json as { data: ImageBody[]; nextCursor: string | null };
    images.push(...page.data);
    cursor = page.nextCursor;
  }
  return images;
}
