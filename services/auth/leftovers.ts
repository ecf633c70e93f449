import type { ServiceBroker } from "moleculer";
import { call } from "../../lib/contracts.ts";
import { inBatches } from "../../lib/sweep.ts";
import type { CredentialsRepository } from "./credentials.repository.ts";
import type { SessionsRepository } from "./sessions.repository.ts";

interface Leftovers {
  broker: ServiceBroker;
  credentials: CredentialsRepository;
  sessions: SessionsRepository;
}

/** As many as `users.findMissing` takes. A session has thousands of tokens at most, which go with it. */
const BATCH = 100;

/** Deletes sessions and tokens that are over, and passwords that were set for users who were never created. */
export async function deleteLeftovers({ broker, credentials, sessions }: Leftovers): Promise<void> {
  await inBatches(10 * BATCH, (limit) => sessions.deleteOverTokens(limit));
  await inBatches(BATCH, (limit) => sessions.deleteOver(limit));
  await inBatches(BATCH, async (limit) => {
    const userIds = await credentials.listUnconfirmed(limit);
    if (userIds.length === 0) return 0;
    const missing = await call(broker, "users.findMissing", { ids: userIds });
    await credentials.confirmOrDelete(userIds, missing);
    return userIds.length;
  });
}
