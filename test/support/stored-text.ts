import { glob, readFile } from "node:fs/promises";
import { join } from "node:path";

import { Redis } from "ioredis";

import { readStream } from "./event-stream.ts";
import type { TestNodes } from "./test-nodes.ts";

/** The tables of the database that have a row with a text in it. */
export async function tablesWith({ sql }: Pick<TestNodes, "sql">, text: string): Promise<string[]> {
  const tables = await sql<{ name: string }>(
    `SELECT format('%I.%I', schemaname, tablename) AS name FROM pg_tables
     WHERE schemaname NOT IN ('pg_catalog', 'information_schema') ORDER BY name`,
  );
  const found: string[] = [];
  for (const { name } of tables) {
    const rows = await sql(`SELECT FROM ${name} AS t WHERE strpos(to_jsonb(t)::text, $1) > 0 LIMIT 1`, [
      text,
    ]);
    if (rows.length > 0) found.push(name);
  }
  return found;
}

/** The keys of Redis in which, or in whose value, a text is. */
export async function redisKeysWith(redisUrl: string, text: string): Promise<string[]> {
  const client = new Redis(redisUrl);
  try {
    const found: string[] = [];
    for (const key of await client.keys("*")) {
      const value = (await client.type(key)) === "string" ? await client.get(key) : await client.hgetall(key);
      if ((key + JSON.stringify(value)).includes(text)) found.push(key);
    }
    return found;
  } finally {
    client.disconnect();
  }
}

/** The files of JetStream in which a text is. */
export async function streamFilesWith({ nats }: Pick<TestNodes, "nats">, text: string): Promise<string[]> {
  const paths = await Array.fromAsync(glob("**", { cwd: nats.storeDir, withFileTypes: true }));
  const files = paths.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  const contents = await Promise.all(files.map(async (path) => ({ path, bytes: await bytesOf(path) })));
  return contents.filter(({ bytes }) => bytes.includes(text)).map(({ path }) => path);
}

/** None of a file that the server has deleted meanwhile. */
async function bytesOf(path: string): Promise<Buffer> {
  try {
    return await readFile(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    return Buffer.alloc(0);
  }
}

/** The NATS subjects of the messages in the stream in which a text is. */
export async function messagesWith({ nats }: Pick<TestNodes, "nats">, text: string): Promise<string[]> {
  const messages = await readStream(nats.url).messages();
  return messages.filter((message) => JSON.stringify(message).includes(text)).map(({ subject }) => subject);
}
