/** Where the servers of a run are; published by the global setup through the environment, which workers inherit. */
export interface SharedServers {
  /** An empty database, as the role that owns every database. */
  readonly postgresUrl: string;
  /** The same server as its superuser. */
  readonly postgresAdminUrl: string;
  /** With JetStream. Shared: use a namespace of your own. */
  readonly natsUrl: string;
  /** Shared: use a key prefix of your own. */
  readonly redisUrl: string;
}

const VARIABLES = {
  postgresUrl: "ROLLCALL_TEST_POSTGRES_URL",
  postgresAdminUrl: "ROLLCALL_TEST_POSTGRES_ADMIN_URL",
  natsUrl: "ROLLCALL_TEST_NATS_URL",
  redisUrl: "ROLLCALL_TEST_REDIS_URL",
} as const satisfies Record<keyof SharedServers, string>;

export function publishSharedServers(servers: SharedServers): void {
  for (const key of Object.keys(VARIABLES) as (keyof SharedServers)[])
    process.env[VARIABLES[key]] = servers[key];
}

/** @throws {Error} in a project whose tests have no servers (unit). */
export function sharedServers(): SharedServers {
  const read = (variable: string): string => {
    const value = process.env[variable];
    if (value === undefined) throw new Error(`${variable} is not set: this jest project has no global setup`);
    return value;
  };
  return {
    postgresUrl: read(VARIABLES.postgresUrl),
    postgresAdminUrl: read(VARIABLES.postgresAdminUrl),
    natsUrl: read(VARIABLES.natsUrl),
    redisUrl: read(VARIABLES.redisUrl),
  };
}
