import { spawn, spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { constants, getPriority } from "node:os";
import { join } from "node:path";

import { afterEach, beforeAll, describe, expect, it } from "@jest/globals";

import type { ImagePreset } from "../../lib/image-settings.ts";
import type { ImageProcessorOptions } from "../../services/images/create-image-processor.ts";
import type { ImageProcessor } from "../../services/images/image-processor.ts";
import { capturingLogger } from "../support/capturing-logger.ts";
import { photo, PRESETS, quarters, saved, startImageProcessor } from "../support/images.ts";
import { describeProcess, processTree, stillRunning } from "../support/processes.ts";
import { temporaryDir } from "../support/test-run.ts";
import { waitFor } from "../support/wait-for.ts";

/** So much work that there is always time to do something meanwhile. */
const MUCH_WORK: readonly ImagePreset[] = Array.from({ length: 16 }, (_, index) => ({
  name: `large-${index}`,
  width: 1600,
  height: 1600,
  fit: "inside",
}));
/** As Linux numbers it. */
const SCHED_IDLE = 5;
const OVERLOADED = { type: "OVERLOADED", code: 503 };
const TOO_MUCH_WORK = { type: "IMAGE_UNREADABLE", message: expect.stringContaining("too much work") };

describe("the workers of an image processor", () => {
  let processor: ImageProcessor;
  let [small, large] = ["", ""];
  beforeAll(async () => {
    small = await saved(quarters().jpeg(), "small.jpg");
    large = await saved((await photo(1600, 1600)).jpeg(), "large.jpg");
  });
  afterEach(async () => {
    await processor.stop();
    if (workerPids().length > 0) throw new Error("A worker has outlived its processor.");
  });

  function start(options: Partial<ImageProcessorOptions> = {}): void {
    processor = startImageProcessor(options);
  }

  function process(source = small, folder = temporaryDir("presets")): Promise<string> {
    return processor.process(source, folder).then(({ format }) => format);
  }

  /** Begins a job that takes long, and waits until the first file of it is there. */
  async function processMuch(): Promise<{ job: Promise<string>; pid: number; folder: string }> {
    const folder = temporaryDir("presets");
    const job = process(large, folder);
    // Some tests look at how it ends only later.
    job.catch(() => undefined);
    return { job, pid: await workerOn(folder), folder };
  }

  it("are started when there is work, and ended when there is none for a while", async () => {
    start({ idleMs: 300 });
    expect(workerPids()).toEqual([]);
    await process();
    expect(processor.usage()).toMatchObject({ workers: 1, running: 0, outcomes: { done: 1 } });
    await waitFor(() => workerPids().length === 0 && processor.usage().workers === 0, {
      description: "no worker",
    });
    await process();
    expect(processor.usage()).toMatchObject({ outcomes: { done: 2 }, workersLost: 0 });
  });

  it("know nothing that is worth stealing, and stand back on all of their threads", async () => {
    start();
    await process();
    const [pid = 0] = workerPids();
    const names = readFileSync(`/proc/${pid}/environ`, "latin1")
      .split("\0")
      .map((entry) => entry.split("=")[0] ?? "");
    expect(names.filter((name) => name !== "" && !/^(MALLOC_|UV_|NODE_CHANNEL_)/.test(name))).toEqual([]);
    const low = Math.min(getPriority() + 10, constants.priority.PRIORITY_LOW);
    const scheduling = readdirSync(`/proc/${pid}/task`).map((task) => {
      const stat = readFileSync(`/proc/${pid}/task/${task}/stat`, "latin1");
      // Nice is the 17th field behind the name, which may contain spaces, and the policy the 39th.
      const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
      return `nice ${fields[16]}, policy ${fields[38]}`;
    });
    expect(new Set(scheduling)).toEqual(new Set([`nice ${low}, policy ${hasChrt() ? SCHED_IDLE : 0}`]));
    const session = `/proc/${pid}/autogroup`;
    if (!existsSync(session)) return;
    await waitFor(() => readFileSync(session, "latin1").endsWith(` nice ${low}\n`), {
      description: "its session to have the priority too",
    });
  });

  it("do no more jobs at a time than there are workers", async () => {
    start({ workers: 2, queueMax: 4 });
    const jobs = [0, 1, 2, 3, 4, 5].map(() => process());
    await waitFor(() => comeTo(processor.usage()) === 6, { description: "all to have come", intervalMs: 1 });
    const { outcomes, ...usage } = processor.usage();
    expect(usage).toMatchObject({ running: 2, workers: 2, waiting: 4 - outcomes.done });
    await Promise.all(jobs);
    expect(processor.usage()).toMatchObject({
      running: 0,
      waiting: 0,
      outcomes: { done: 6, overloaded: 0 },
    });
    expect(processor.usage().workSeconds).toBeGreaterThan(0);
  });

  it("do jobs in the order in which they came", async () => {
    start();
    const order: number[] = [];
    const jobs: Promise<number>[] = [];
    for (const number of [1, 2, 3, 4]) {
      jobs.push(process(number === 1 ? large : small).then(() => order.push(number)));
      await waitFor(() => comeTo(processor.usage()) === number, { description: "it to have come" });
    }
    await Promise.all(jobs);
    expect(order).toEqual([1, 2, 3, 4]);
  });

  it("refuse at once what would have to wait behind too many", async () => {
    start({ queueMax: 1, presets: MUCH_WORK });
    await processMuch();
    const waiting = process();
    await waitFor(() => processor.usage().waiting === 1, { description: "one to wait" });
    await expect(process()).rejects.toMatchObject(OVERLOADED);
    await Promise.all([expect(waiting).rejects.toMatchObject(OVERLOADED), processor.stop()]);
  });

  it("refuse what has waited too long, instead of doing it in vain", async () => {
    start({ waitMs: 100, presets: MUCH_WORK });
    const { job } = await processMuch();
    await expect(process()).rejects.toMatchObject(OVERLOADED);
    expect(processor.usage()).toMatchObject({ running: 1, waiting: 0, outcomes: { overloaded: 1 } });
    await processor.stop();
    await expect(job).rejects.toMatchObject(OVERLOADED);
  });

  it("do not decode together what does not fit into memory together", async () => {
    const interlaced = await saved(quarters(2000, 1000).png({ progressive: true }), "interlaced.png");
    // Each takes 12 MB: its pixels, and again while they are made fewer.
    start({ workers: 2, decodeBytesMax: 20_000_000, presets: PRESETS.slice(0, 1) });
    const jobs = [interlaced, interlaced, small].map((source) => process(source));
    await waitFor(() => processor.usage().waiting > 0, { description: "one to wait" });
    expect(processor.usage()).toMatchObject({ running: 1 });
    expect(await Promise.all(jobs)).toEqual(["png", "png", "jpeg"]);
  });

  it("are replaced when they die, and what they were doing is done again", async () => {
    const { log, entries } = capturingLogger();
    start({ presets: MUCH_WORK.slice(0, 4), log });
    const { job, pid } = await processMuch();
    global.process.kill(pid, "SIGKILL");
    expect(await job).toBe("jpeg");
    expect(processor.usage()).toMatchObject({ workers: 1, workersLost: 1, outcomes: { done: 1 } });
    expect(entries).toContainEqual(expect.objectContaining({ kind: "died", pid, hadBegun: true }));
  });

  it("are not replaced for an image that ends a second one", async () => {
    start({ presets: MUCH_WORK });
    const { job, pid, folder } = await processMuch();
    global.process.kill(pid, "SIGKILL");
    await waitFor(() => stillRunning([pid]).length === 0, { description: "it to die" });
    for (const file of readdirSync(folder)) rmSync(join(folder, file));
    global.process.kill(await workerOn(folder), "SIGKILL");
    await expect(job).rejects.toMatchObject(TOO_MUCH_WORK);
    expect(processor.usage()).toMatchObject({ running: 0, workersLost: 2, outcomes: { refused: 1 } });
  });

  it("are noticed to have died while they had nothing to do", async () => {
    start();
    await process();
    const [pid = 0] = workerPids();
    global.process.kill(pid, "SIGKILL");
    await waitFor(() => processor.usage().workers === 0, { description: "the loss to be noticed" });
    expect(await process()).toBe("jpeg");
    expect(processor.usage()).toMatchObject({ workersLost: 1, outcomes: { done: 2 } });
  });

  it("are ended when they take too long, and no image is blamed for one that is frozen", async () => {
    start({ timeoutMs: 1500 });
    const job = process(large);
    job.catch(() => undefined);
    const pid = await firstWorker();
    global.process.kill(pid, "SIGSTOP");
    await expect(job).rejects.toMatchObject(OVERLOADED);
    await waitFor(() => stillRunning([pid]).length === 0, { description: "the frozen worker to be gone" });
    expect(processor.usage()).toMatchObject({ running: 0, workersLost: 1 });
  });

  it("do not blame an image for files that cannot be written", async () => {
    start();
    const failure = processor.process(small, join(temporaryDir("presets"), "missing"));
    await expect(failure).rejects.toThrow("could not be made");
    await expect(failure).rejects.not.toHaveProperty("type");
    expect(processor.usage()).toMatchObject({ workers: 1, outcomes: { failed: 1, refused: 0 } });
  });

  it("end with their processor, and what runs or waits fails", async () => {
    start({ workers: 2, presets: MUCH_WORK });
    const jobs = [large, large, small].map((source) => process(source));
    await waitFor(() => processor.usage().waiting === 1, { description: "one to wait" });
    const ended = Promise.allSettled(jobs);
    await processor.stop();
    expect(workerPids()).toEqual([]);
    expect(await ended).toEqual(
      jobs.map(() => ({ status: "rejected", reason: expect.objectContaining(OVERLOADED) })),
    );
    await expect(process()).rejects.toMatchObject(OVERLOADED);
  });

  it.each([
    { of: "idle", sources: () => [small] },
    { of: "busy", sources: () => [small, large] },
  ])("that are $of end when their parent is killed", async ({ sources }) => {
    start();
    const program = join(import.meta.dirname, "../support/image-program.ts");
    const parent = spawn(global.process.execPath, [program, ...sources()], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    await new Promise((resolve) => parent.stdout.once("data", resolve));
    const workers = processTree(parent.pid ?? 0).slice(1);
    expect(workers).toHaveLength(1);
    parent.kill("SIGKILL");
    await waitFor(() => stillRunning(workers).length === 0, { description: "the worker to end" });
  });
});

/** How many jobs a processor has been given, those that it has done among them. */
const comeTo = ({ running, waiting, outcomes }: ReturnType<ImageProcessor["usage"]>): number =>
  running + waiting + outcomes.done;

/** Without it a worker has a low priority alone. */
const hasChrt = (): boolean => spawnSync("chrt", ["--version"]).error === undefined;

/** Of this process. */
function workerPids(): number[] {
  return processTree(process.pid)
    .slice(1)
    .filter((pid) => describeProcess(pid).includes("processing/worker.ts"));
}

/** The one worker, when it has written a file into the folder. */
async function workerOn(folder: string): Promise<number> {
  const options = { description: "a worker that has begun" };
  await waitFor(() => readdirSync(folder).length > 0, options);
  return firstWorker();
}

async function firstWorker(): Promise<number> {
  await waitFor(() => workerPids().length > 0, { description: "a worker", intervalMs: 1 });
  return workerPids()[0] ?? Number.NaN;
}
