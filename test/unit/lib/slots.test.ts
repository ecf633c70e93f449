import { expect, test } from "@jest/globals";

import { Slots } from "../../../lib/slots.ts";

/** Work whose calls end when they are told to, in whatever order. */
function controlledWork() {
  const calls: PromiseWithResolvers<string>[] = [];
  const slots = new Slots(2);
  const limited = () =>
    slots.run(() => {
      const call = Promise.withResolvers<string>();
      calls.push(call);
      return call.promise;
    });
  return { calls, limited };
}

const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test("what is beyond the limit waits for its turn, in order", async () => {
  const { calls, limited } = controlledWork();
  const results = ["a", "b", "c", "d"].map(limited);
  await settle();
  expect(calls).toHaveLength(2);
  calls[1]?.resolve("second");
  await settle();
  expect(calls).toHaveLength(3);
  for (const [index, value] of ["first", "", "third"].entries()) calls[index]?.resolve(value);
  await settle();
  calls[3]?.resolve("fourth");
  expect(await Promise.all(results)).toEqual(["first", "second", "third", "fourth"]);
});

test("a call that fails gives its place to the next, and is told so alone", async () => {
  const { calls, limited } = controlledWork();
  const results = Promise.allSettled(["a", "b", "c"].map(limited));
  await settle();
  calls[0]?.reject(new Error("broken"));
  await settle();
  calls[1]?.resolve("second");
  calls[2]?.resolve("third");
  expect((await results).map(({ status }) => status)).toEqual(["rejected", "fulfilled", "fulfilled"]);
});

test("one that comes when a place is handed on does not get in before", async () => {
  const { calls, limited } = controlledWork();
  const results = ["a", "b", "c"].map(limited);
  await settle();
  calls[0]?.resolve("first");
  await results[0];
  const late = limited();
  await settle();
  expect(calls).toHaveLength(3);
  for (const call of calls) call.resolve("");
  await settle();
  calls[3]?.resolve("late");
  expect(await late).toBe("late");
});
