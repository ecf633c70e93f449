import { createDatabase, databaseUrl, TEMPLATE_DATABASE } from "./databases.ts";
import { migrate } from "../../bootstrap/migrate.ts";
import { startNats } from "./nats.ts";
import { startPostgres } from "./postgres.ts";
import { describeProcess, processesOfRun, signalAll } from "./processes.ts";
import { startRedis } from "./redis.ts";
import { publishSharedServers } from "./shared-servers.ts";
import { silentLogger } from "./silent-logger.ts";
import { closeTestRun, RUN_VARIABLE, testRunDir } from "./test-run.ts";
import { waitFor } from "./wait-for.ts";

const running: { stop(): Promise<void> }[] = [];

/** Starts one PostgreSQL, NATS and Redis for all test files of a run and migrates the template database. */
export async function startGlobalServers(): Promise<void> {
  testRunDir();
  try {
    const [postgres, nats, redis] = await Promise.all([
      startPostgres(),
      startNats({ jetStream: true }),
      startRedis(),
    ]);
    running.push(postgres, nats, redis);
    const template = databaseUrl(postgres.url, TEMPLATE_DATABASE);
    await createDatabase(postgres.adminUrl, TEMPLATE_DATABASE);
    await migrate(template, silentLogger);
    publishSharedServers({
      postgresUrl: postgres.url,
      postgresAdminUrl: postgres.adminUrl,
      natsUrl: nats.url,
      redisUrl: redis.url,
    });
  } catch (error) {
    // Jest does not call the teardown after a setup that failed.
    await closeTestRun();
    throw error;
  }
}

/**
 * Stops the servers.
 *
 * @throws {Error} when a test file left a process running; it is ended too.
 */
export async function stopGlobalServers(): Promise<void> {
  await Promise.all(running.splice(0).map((server) => server.stop()));
  const leftRunning = await endLeftProcesses();
  await closeTestRun();
  if (leftRunning.length > 0) throw new Error(`Left running by tests:\n${leftRunning.join("\n")}`);
}

/** @returns what was left running; it is ended, lest the next stage of the run is blamed for it */
async function endLeftProcesses(): Promise<string[]> {
  // Jest itself carries the mark when the runner of all stages opened the run.
  const find = (): number[] =>
    processesOfRun(RUN_VARIABLE, testRunDir()).filter((pid) => pid !== process.pid);
  try {
    await waitFor(() => find().length === 0, {
      description: "the processes of the tests to end",
      timeoutMs: 10_000,
    });
    return [];
  } catch {
    const left = find();
    const descriptions = left.map(describeProcess);
    signalAll(left, "SIGKILL");
    return descriptions;
  }
}
