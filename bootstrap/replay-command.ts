import { parseArgs } from "node:util";
import { Database } from "../lib/database.ts";
import { createLogger } from "../lib/logger.ts";
import { StartupError } from "../lib/startup-error.ts";
import { replay } from "../services/events/events.repository.ts";
import { exitBecauseOf } from "./exit.ts";
import { requireMigrated } from "./migrate.ts";
import { readConfig } from "./read-config.ts";

const USAGE = "Usage: npm run events:replay -- --from SEQUENCE";

/**
 * `npm run events:replay -- --from SEQUENCE`: has the relay publish again what it has published from this number on. The
 * relay need not be running; it does it when it is.
 */
try {
  const from = readFrom();
  const config = readConfig();
  const { DATABASE_URL } = config;
  if (!DATABASE_URL) throw new StartupError("DATABASE_URL is not set: there is no log to replay.");
  await requireMigrated(DATABASE_URL);
  const database = new Database({ ...config, DATABASE_URL }, createLogger(config));
  try {
    const range = await replay(database, from);
    if (!range) throw new StartupError(`Nothing that was published from ${from} on is left in the log.`);
    process.stdout.write(`The events ${range.from} to ${range.to} are published again.\n`);
  } finally {
    await database.close();
  }
} catch (error) {
  exitBecauseOf(error);
}

function readFrom(): number {
  try {
    const { values } = parseArgs({ options: { from: { type: "string" } } });
    if (values.from !== undefined && /^[1-9]\d{0,14}$/.test(values.from)) return Number(values.from);
  } catch {
    // Another option, or a word that belongs to none.
  }
  throw new StartupError(USAGE);
}
