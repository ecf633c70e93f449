/**
 * A process that owns an embedded PostgreSQL: `node postgres-owner.ts <data folder>`. It prints one line of JSON, an
 * `OwnerReport`, and runs until its standard input ends. For tests that kill the owner, or need one of another user.
 */
import { startEmbeddedPostgres } from "../../bootstrap/embedded-postgres.ts";
import { StartupError } from "../../lib/startup-error.ts";
import type { OwnerReport } from "./postgres-owners.ts";
import { silentLogger } from "./silent-logger.ts";

const report = (line: OwnerReport): boolean => process.stdout.write(`${JSON.stringify(line)}\n`);

const [dataDir] = process.argv.slice(2);
if (dataDir === undefined) throw new Error("usage: node postgres-owner.ts <data folder>");

try {
  const server = await startEmbeddedPostgres({ dataDir, log: silentLogger, settings: { fsync: "off" } });
  report({ url: server.url, postgresPid: server.pid, uid: process.getuid?.() ?? 0 });
  for await (const _ of process.stdin);
  await server.stop();
} catch (error) {
  if (!(error instanceof StartupError)) throw error;
  report({ startupError: error.message });
}
