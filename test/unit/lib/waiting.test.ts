import { describe, expect, test } from "@jest/globals";

import {
  atMostEvery,
  inTime,
  pause,
  repeat,
  retry,
  unlessAborted,
  Wakeup,
  within,
} from "../../../lib/waiting.ts";
import { waitFor } from "../../support/wait-for.ts";

const LONG_MS = 60_000;
const never = new AbortController().signal;

describe("a pause", () => {
  test("ends after its time", async () => {
    await expect(pause(1, never)).resolves.toBeUndefined();
  });

  test("ends at once when it is aborted, before or meanwhile", async () => {
    const controller = new AbortController();
    const waiting = pause(LONG_MS, controller.signal);
    controller.abort();
    await expect(waiting).resolves.toBeUndefined();
    await expect(pause(LONG_MS, controller.signal)).resolves.toBeUndefined();
  });
});

describe("what is waited for unless aborted", () => {
  test("is given, or fails, as it does by itself", async () => {
    await expect(unlessAborted(Promise.resolve("done"), never)).resolves.toBe("done");
    await expect(unlessAborted(Promise.reject(new Error("no")), never)).rejects.toThrow("no");
  });

  test("is not waited for once it is aborted, before or meanwhile, and may fail then", async () => {
    const controller = new AbortController();
    const { promise, reject } = Promise.withResolvers<string>();
    const waiting = unlessAborted(promise, controller.signal);
    controller.abort();
    await expect(waiting).resolves.toBeUndefined();
    await expect(unlessAborted(promise, controller.signal)).resolves.toBeUndefined();
    // Were nobody listening, this would end the process.
    reject(new Error("too late"));
    await new Promise(setImmediate);
  });
});

describe("a wait", () => {
  test("ends when it is called", async () => {
    const wakeup = new Wakeup();
    const waiting = wakeup.wait(LONG_MS, never);
    wakeup.call();
    await expect(waiting).resolves.toBeUndefined();
  });

  test("ends at once when it was called before, and then once only", async () => {
    const wakeup = new Wakeup();
    wakeup.call();
    wakeup.call();
    await wakeup.wait(LONG_MS, never);

    const controller = new AbortController();
    let isOver = false;
    const second = wakeup.wait(LONG_MS, controller.signal).then(() => (isOver = true));
    await pause(10, never);
    expect(isOver).toBe(false);
    controller.abort();
    await second;
    expect(isOver).toBe(true);
  });

  test("ends after its time", async () => {
    await expect(new Wakeup().wait(1, never)).resolves.toBeUndefined();
  });
});

describe("what is waited for within a time", () => {
  const late = new Promise<string>(() => undefined);

  test("is given, or its error", async () => {
    await expect(inTime(Promise.resolve("answer"), LONG_MS)).resolves.toBe("answer");
    await expect(inTime(Promise.reject(new Error("refused")), LONG_MS)).rejects.toThrow("refused");
  });

  test("is not waited for any longer", async () => {
    await expect(inTime(late, 1)).resolves.toBeUndefined();
    const onLate = (): never => {
      throw new Error("too late");
    };
    await expect(within(1, late, onLate)).rejects.toThrow("too late");
  });
});

test("an answer that was there when a busy process came to look is in time", async () => {
  const { promise, resolve } = Promise.withResolvers<string>();
  let wasLate = false;
  const answer = within(1, promise, () => (wasLate = true));
  setImmediate(resolve, "answer");
  const busyUntil = performance.now() + 5;
  while (performance.now() < busyUntil);
  await expect(answer).resolves.toBe("answer");
  // The time is over in the same turn of the event loop.
  await pause(5, never);
  expect(wasLate).toBe(false);
});

describe("a retry", () => {
  test("goes on until it succeeds", async () => {
    const errors: string[] = [];
    let attempts = 0;
    const attempt = async (): Promise<string> => {
      attempts += 1;
      if (attempts < 3) throw new Error(`attempt ${attempts}`);
      return "done";
    };
    const onError = ({ message }: Error): void => void errors.push(message);
    await expect(retry(attempt, { waitMs: 1, until: never, onError })).resolves.toBe("done");
    expect(errors).toEqual(["attempt 1", "attempt 2"]);
  });

  test("ends without a result when it is aborted", async () => {
    const controller = new AbortController();
    const attempt = () => Promise.reject(new Error("never"));
    const onError = (): void => controller.abort();
    await expect(
      retry(attempt, { waitMs: LONG_MS, until: controller.signal, onError }),
    ).resolves.toBeUndefined();
  });
});

test("what is repeated happens at once, at each call and after its time, whether it fails or not", async () => {
  const controller = new AbortController();
  const wakeup = new Wakeup();
  let runs = 0;
  let failures = 0;
  const work = async (): Promise<void> => {
    runs += 1;
    if (runs === 1) wakeup.call();
    if (runs === 4) controller.abort();
    throw new Error("fails");
  };
  const onError = (): void => void (failures += 1);
  await repeat(work, { wakeup, everyMs: 1, until: controller.signal, onError });
  expect([runs, failures]).toEqual([4, 4]);
});

test("an action that is limited happens at once, and then with the last of the calls in between", async () => {
  const done: number[] = [];
  const act = atMostEvery(20, (n: number) => void done.push(n));
  for (const n of [1, 2, 3]) act(n);
  expect(done).toEqual([1]);
  await waitFor(() => done.length === 2, { description: "the call that was put off" });
  expect(done).toEqual([1, 3]);
});
