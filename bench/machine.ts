import { cpus, loadavg, totalmem } from "node:os";

import { connect } from "nats";

import type { Servers } from "./servers.ts";

const GIB = 1024 ** 3;

/**
 * What the figures were taken on, as lines of Markdown. Figures of two machines cannot be compared, and a load average
 * well above 0 says that something else ran there too.
 */
export async function describeMachine({ database, natsUrl }: Servers, users: number): Promise<string[]> {
  const { rows } = await database.query<{ server_version: string }>("SHOW server_version");
  const nats = await connect({ servers: natsUrl });
  const natsVersion = nats.info?.version ?? "unknown";
  await nats.close();
  const [load = Number.NaN] = loadavg();
  return [
    `- Date: ${new Date().toISOString().slice(0, 10)}`,
    `- Machine: ${cpus().length} × ${cpus()[0]?.model.trim() ?? "unknown CPU"}, ${Math.round(totalmem() / GIB)} GiB memory, ${process.platform}; load average before the start ${load.toFixed(1)}`,
    `- Node ${process.version}, PostgreSQL ${rows[0]?.server_version} (defaults, fsync on), NATS ${natsVersion}`,
    `- ${users.toLocaleString("en")} users before the first load; everything, the load generator too, on the one machine over loopback`,
  ];
}
