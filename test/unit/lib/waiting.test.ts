import { describe, expect, test } from "@jest/globals";

import { pause, Wakeup } from "../../../lib/waiting.ts";

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
