import type { ServiceBroker } from "moleculer";
import { call } from "../../lib/contracts.ts";
import type { CredentialsRepository } from "./credentials.repository.ts";
import type { SessionsRepository } from "./sessions.repository.ts";

interface Leftovers {
  broker: ServiceBroker;
  credentials: CredentialsRepository;
  sessions: SessionsRepository;
}

/** Deletes sessions and tokens that are over, and passwords that were set for users who were never created. */
export async function deleteLeftovers({ broker, credentials, sessions }: Leftovers): Promise<void> {
  await sessions.deleteOver();
  const userIds = await credentials.listUnconfirmed();
  if (userIds.length === 0) return;
  const missing = await call(broker, "users.findMissing", { ids: userIds });
  await credentials.confirmOrDelete(userIds, missing);
}
