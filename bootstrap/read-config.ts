import { EXIT_CONFIG, loadConfig, type Config } from "../lib/config.ts";
import { StartupError } from "../lib/startup-error.ts";

/**
 * The configuration of a program of ours: from the environment and, for what that leaves out, from a file `.env` in the
 * working directory, if there is one.
 *
 * @param defaults in place of those of the schema, for what both leave unset
 * @throws StartupError with exit code 78 that lists everything that is wrong
 */
export function readConfig(defaults: Readonly<Record<string, string>> = {}): Config {
  try {
    // Into the environment, where the client of AWS looks too.
    process.loadEnvFile(".env");
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code !== "ENOENT") {
      throw new StartupError(`.env cannot be read: ${message}`, { exitCode: EXIT_CONFIG, cause: error });
    }
  }
  return loadConfig(undefined, defaults);
}
