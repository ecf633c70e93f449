import { afterAll, afterEach, beforeAll, describe } from "@jest/globals";

import { EventConsumers } from "./event-consumers.ts";

/**
 * Describes durable consumers, whatever they hear of events from: each source must pass the tests. Instances are stopped
 * after each test, as those that stay would take their part of the next one's time.
 *
 * @param tests are given the consumers, which are there as soon as a test runs
 */
export function describeDurableConsumers(tests: (events: () => EventConsumers) => void): void {
  describe.each([
    ["a durable consumer on JetStream", { useNats: true }],
    ["a durable consumer on the log", { useNats: false }],
  ])("%s", (_, options) => {
    let events: EventConsumers;

    beforeAll(async () => {
      events = await EventConsumers.start(options);
    });

    afterEach(() => events.stopInstances());

    afterAll(() => events.stop());

    tests(() => events);
  });
}
