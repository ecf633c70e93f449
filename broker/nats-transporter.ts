import { Transporters } from "moleculer";
import type { NatsConnection } from "nats";

/** Moleculer's NATS transporter, which also stops while NATS is away. */
export class NatsTransporter extends Transporters.NATS {
  override async disconnect(): Promise<void> {
    const connection = this.client as NatsConnection | null;
    // Moleculer gives up when this fails: the connection would go on reconnecting, and the broker not finish its stop.
    await connection?.flush().catch(() => undefined);
    await connection?.close();
    this.client = null;
  }
}
