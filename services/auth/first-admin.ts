import { randomBytes } from "node:crypto";
import type { ServiceBroker } from "moleculer";
import type { Node } from "../../bootstrap/node.ts";
import { appError, hasType } from "../../broker/errors.ts";
import { Awaited } from "../../lib/awaited.ts";
import { call } from "../../lib/contracts.ts";
import type { CredentialsRepository } from "./credentials.repository.ts";
import type { PasswordHasher } from "./password-hasher.ts";

const RETRY_MS = 2000;

/** Of the admin that embedded mode makes. */
const EMBEDDED_EMAIL = "admin@rollcall.local";

interface Login {
  email: string;
  password: string;
}

interface FirstAdminParts {
  node: Pick<Node, "config" | "log">;
  broker: ServiceBroker;
  credentials: CredentialsRepository;
  hasher: PasswordHasher;
}

/**
 * Makes the admin of ADMIN_EMAIL and ADMIN_PASSWORD, or one of its own on the first start of embedded mode. Several
 * nodes may do so at once. Nobody's password or role is ever changed: with other values it makes another admin, which
 * is also how one gets in after the password is forgotten.
 */
export class FirstAdmin {
  readonly #parts: FirstAdminParts;
  readonly #awaited: Awaited;
  /** The same in every attempt: when the first one fails, its password has been shown already. */
  #generated: Login | undefined;
  #isTaken = false;
  #timer: NodeJS.Timeout | undefined;
  #isStopped = false;

  constructor(parts: FirstAdminParts) {
    this.#parts = parts;
    this.#awaited = new Awaited(parts.node.log, {
      waiting: "waiting for the users service, to make the first admin",
      missing: "the first admin could not be made yet",
      back: "the first admin is there",
    });
  }

  /** Settles when the admin is there, or at once when the users service is on another node, which may start later. */
  async start(): Promise<void> {
    const { config } = this.#parts.node;
    const attempt = this.#attempt();
    if (config.SERVICES.includes("users")) await attempt;
  }

  stop(): void {
    this.#isStopped = true;
    clearTimeout(this.#timer);
  }

  /** What to tell the person at the terminal, once. */
  takeGenerated(): Login | undefined {
    if (this.#isTaken) return undefined;
    this.#isTaken = true;
    return this.#generated;
  }

  async #attempt(): Promise<void> {
    try {
      const wanted = await this.#wanted();
      if (wanted) await this.#ensure(wanted);
      this.#awaited.there();
    } catch (error) {
      if (this.#isStopped) return;
      this.#awaited.missing(error);
      this.#timer = setTimeout(() => void this.#attempt(), RETRY_MS);
    }
  }

  async #wanted(): Promise<Login | undefined> {
    const { node, credentials } = this.#parts;
    const { ADMIN_EMAIL: email, ADMIN_PASSWORD: password, DATABASE_URL, SERVICES, LOG_LEVEL } = node.config;
    if (email !== undefined && password !== undefined) return { email, password };
    if (await credentials.existAny()) return undefined;
    // Only where somebody is told the password.
    const isShown = SERVICES.includes("api") && LOG_LEVEL !== "silent";
    if (DATABASE_URL !== undefined || !isShown || !SERVICES.includes("users")) {
      node.log.warn("nobody has a password: ADMIN_EMAIL and ADMIN_PASSWORD of auth make the first admin");
      return undefined;
    }
    this.#generated ??= { email: EMBEDDED_EMAIL, password: randomBytes(15).toString("base64url") };
    return this.#generated;
  }

  async #ensure({ email, password }: Login): Promise<void> {
    const { node, credentials, hasher } = this.#parts;
    const user = (await this.#find(email)) ?? (await this.#create(email));
    if (user.role !== "admin") {
      // It may be somebody's who has signed up under this address.
      node.log.error(
        { userId: user.id },
        "ADMIN_EMAIL belongs to a user who is no admin; nothing was changed",
      );
      return;
    }
    if (await credentials.find(user.id)) return;
    if (await credentials.add(user.id, await hasher.hash(password))) {
      node.log.info({ userId: user.id }, "the first admin was made");
    }
  }

  async #find(email: string) {
    const { broker } = this.#parts;
    // Looked up first: the broker logs every call of an action that is nowhere.
    if (!broker.registry.actions.isAvailable("users.getByEmail")) throw appError("SERVICE_UNAVAILABLE");
    try {
      return await call(broker, "users.getByEmail", { email });
    } catch (error) {
      if (hasType(error, "USER_NOT_FOUND")) return undefined;
      throw error;
    }
  }

  async #create(email: string) {
    const profile = { email, firstName: "Rollcall", lastName: "Admin" };
    try {
      return await call(this.#parts.broker, "users.createAdmin", profile);
    } catch (error) {
      const other = hasType(error, "EMAIL_TAKEN") ? await this.#find(email) : undefined;
      if (!other) throw error;
      return other;
    }
  }
}
