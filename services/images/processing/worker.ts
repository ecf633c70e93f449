/**
 * A process that reads images which nobody has looked at before: decoders have defects, so it has nothing to lose. It
 * gets jobs over its channel, works on one at a time at low priority, and ends with its parent, however that ends.
 */
import { lowered, setProcessPriority, yieldToOthers } from "../../../lib/priority.ts";
import { decodeImage, makeFiles } from "./pipeline.ts";
import type { WorkerJob, WorkerMessage, WorkerReply } from "./worker-messages.ts";

/** Requests go first while all cores are busy: where sessions share them, it gets about a tenth of what a node does. */
const NICE = 10;

void setProcessPriority(lowered(NICE));
yieldToOthers();

// Without delay: `process.exit` would wait for the decoder, which has its own thread.
process.on("disconnect", () => process.kill(process.pid, "SIGKILL"));
// Ctrl-C reaches all processes of a terminal. The parent ends this one when its jobs are done.
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => undefined);

process.on("message", (job: WorkerJob) => {
  void work(job).then((reply) => process.send?.(reply));
});
process.send?.({ kind: "ready" } satisfies WorkerMessage);

async function work({ source, format, folder, presets, formats }: WorkerJob): Promise<WorkerReply> {
  let decoded;
  try {
    decoded = await decodeImage(source, format, presets);
  } catch (error) {
    return { kind: "unreadable", message: (error as Error).message };
  }
  try {
    return { kind: "done", image: await makeFiles(decoded, folder, presets, formats) };
  } catch (error) {
    return { kind: "failed", message: (error as Error).message };
  }
}
