import type { Database } from "../../lib/database.ts";
import { newId } from "../../lib/ids.ts";
import type { Role } from "../../lib/principal.ts";
import { derivedKey } from "../../lib/derived-key.ts";
import { seal, unseal } from "../../lib/sealed-box.ts";
import { ACCESS_TOKEN_TTL_SECONDS, type TokenPair } from "./auth.contract.ts";
import { invalidRefreshToken } from "./auth.errors.ts";
import { hashOf, newRefreshToken } from "./opaque-tokens.ts";
import type { SessionsRepository } from "./sessions.repository.ts";
import type { SigningKeys } from "./signing-keys.ts";

/** What became of a refresh token that was presented. */
export type Refresh =
  | { kind: "next"; sessionId: string; refreshToken: string }
  /** It was used before: somebody has it who should not. The session has ended. */
  | { kind: "reused"; sessionId: string; endedIds: string[] };

interface SessionOwner {
  id: string;
  role: Role;
  version: number;
}

/** Starts sessions and keeps them going. */
export class Sessions {
  readonly #database: Database;
  readonly #repository: SessionsRepository;
  readonly #keys: SigningKeys;

  constructor(database: Database, repository: SessionsRepository, keys: SigningKeys) {
    this.#database = database;
    this.#repository = repository;
    this.#keys = keys;
  }

  /**
   * Starts a session; undefined when all sessions of the user have ended since `generation` was read.
   *
   * @returns also the ids of older sessions that had to end for it
   */
  async start(
    user: SessionOwner,
    generation: number,
  ): Promise<{ tokens: TokenPair; endedIds: string[] } | undefined> {
    const id = newId();
    const refreshToken = newRefreshToken();
    const session = {
      id,
      userId: user.id,
      userVersion: user.version,
      generation,
      tokenHash: hashOf(refreshToken),
    };
    if (!(await this.#repository.start(session))) return undefined;
    const endedIds = await this.#repository.endSurplus(user.id);
    return { tokens: await this.issue(user, { sessionId: id, refreshToken }), endedIds };
  }

  /** The tokens of a session. */
  async issue(
    { id, role }: Pick<SessionOwner, "id" | "role">,
    { sessionId, refreshToken }: { sessionId: string; refreshToken: string },
  ): Promise<TokenPair> {
    const accessToken = await this.#keys.sign({ userId: id, role, sessionId });
    return { accessToken, refreshToken, tokenType: "Bearer", expiresIn: ACCESS_TOKEN_TTL_SECONDS };
  }

  /**
   * Exchanges a refresh token for the next one. The same request, known by its idempotency key, gets the same token
   * again for a minute, until that one is used; any other second use ends the session.
   *
   * @throws INVALID_REFRESH_TOKEN
   */
  refresh(token: string, idempotencyKey: string): Promise<Refresh> {
    const retryKey = derivedKey(`${token} ${idempotencyKey}`, "refresh retry");
    return this.#database.transaction(async (transaction): Promise<Refresh> => {
      const hash = hashOf(token);
      const found = await this.#repository.lockToken(hash, transaction);
      if (!found?.isLive) throw invalidRefreshToken();
      const { sessionId } = found;
      if (!found.isUsed) {
        const refreshToken = newRefreshToken();
        const sealedSuccessor = seal(refreshToken, retryKey);
        await this.#repository.rotate(
          { hash, successorHash: hashOf(refreshToken), sealedSuccessor },
          transaction,
        );
        return { kind: "next", sessionId, refreshToken };
      }
      const again =
        found.isJustUsed && found.successor !== null ? unseal(found.successor, retryKey) : undefined;
      if (again !== undefined && (await this.#repository.isUnused(hashOf(again), transaction))) {
        return { kind: "next", sessionId, refreshToken: again };
      }
      return { kind: "reused", sessionId, endedIds: await this.#repository.end(sessionId, transaction) };
    });
  }
}
