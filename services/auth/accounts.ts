import type { DatabaseTransaction } from "../../lib/database-connection.ts";
import type { CredentialsRepository } from "./credentials.repository.ts";
import type { SessionsRepository } from "./sessions.repository.ts";

/** What becomes of a user's way in when its account ends. Each may be done again, by a call and by the event. */
export class Accounts {
  readonly #credentials: CredentialsRepository;
  readonly #sessions: SessionsRepository;

  constructor(credentials: CredentialsRepository, sessions: SessionsRepository) {
    this.#credentials = credentials;
    this.#sessions = sessions;
  }

  /**
   * Ends everything that a user is logged in with, and what it is about to be.
   *
   * @returns ids of the sessions
   */
  async logOut(userId: string, transaction: DatabaseTransaction): Promise<string[]> {
    await this.#credentials.advanceGeneration(userId, transaction);
    return this.#sessions.endAll(userId, undefined, transaction);
  }

  /** The same as it should have been done when the user got this version: who has logged in since then stays so. */
  async logOutBefore(userId: string, version: number, transaction: DatabaseTransaction): Promise<void> {
    await this.#sessions.endOlder(userId, version, transaction);
  }

  /**
   * Removes everything that says who the user was.
   *
   * @returns ids of the sessions that have ended with it
   */
  async erase(userId: string, transaction: DatabaseTransaction): Promise<string[]> {
    await this.#credentials.delete(userId, transaction);
    const endedIds = await this.#sessions.endAll(userId, undefined, transaction);
    await this.#sessions.anonymise(userId, transaction);
    return endedIds;
  }
}
