import { describe, expect, test } from "@jest/globals";

import type { Invalidation } from "../../../../broker/cache/messages.ts";
import { Unconfirmed } from "../../../../broker/cache/unconfirmed.ts";

const MANY = 10_001;

function said(...messages: Omit<Invalidation, "node">[]): Unconfirmed {
  const unconfirmed = new Unconfirmed();
  for (const message of messages) unconfirmed.add({ node: "node", ...message });
  return unconfirmed;
}

const keys = (namespace: string, count: number): { key: string; version: number }[] =>
  Array.from({ length: count }, (_, index) => ({ key: `${namespace}:${index}`, version: 1 }));

describe("what others may not have heard", () => {
  test("is what was said after what is confirmed, in order", () => {
    const unconfirmed = said({ key: "a:1", version: 1 });
    const { last } = unconfirmed;
    unconfirmed.add({ node: "node", key: "a:1", version: 2 });
    unconfirmed.add({ node: "node", namespace: "b" });
    unconfirmed.confirm(last);
    expect(unconfirmed.messages).toEqual([
      { node: "node", key: "a:1", version: 2 },
      { node: "node", namespace: "b" },
    ]);
  });

  test("is of whole namespaces when it is much, and Redis may not know what it may not have known of one key", () => {
    const unconfirmed = said(
      ...keys("a", 2),
      { key: "b:1", version: 1, isUnsettled: true },
      ...keys("b", 1),
      { namespace: "c" },
      ...keys("a", MANY),
    );
    expect(unconfirmed.messages.slice(0, 3)).toEqual([
      { node: "node", namespace: "a", isUnsettled: false },
      { node: "node", namespace: "b", isUnsettled: true },
      { node: "node", namespace: "c", isUnsettled: false },
    ]);
  });

  test("and was shortened is not confirmed with what was said before that", () => {
    const unconfirmed = said(...keys("a", MANY - 1));
    const { last } = unconfirmed;
    unconfirmed.add({ node: "node", key: "a:1", version: 2 });
    unconfirmed.confirm(last);
    expect(unconfirmed.messages).toEqual([{ node: "node", namespace: "a", isUnsettled: false }]);
  });
});
