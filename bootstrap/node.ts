import type { Logger } from "pino";
import type { Config } from "../lib/config.ts";
import type { Database } from "../lib/database.ts";
import type { DependencyMonitor } from "../lib/dependency-monitor.ts";

/** What a node gives to the services that it runs. Services are factories that take it. */
export interface Node {
  readonly config: Config;
  readonly log: Logger;
  /** The configured SECRET, or the one kept in DATA_DIR. */
  readonly secret: string;
  /** Everything that the node itself depends on, by name. */
  readonly monitors: ReadonlyMap<string, DependencyMonitor>;
  /** @throws Error on a node none of whose services uses the database */
  readonly database: Database;
}
