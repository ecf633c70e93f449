import { Transporters } from "moleculer";
import type { ConnectionOptions, NatsConnection } from "nats";
import type { DependencyMonitor } from "../lib/dependency-monitor.ts";

/** Moleculer's NATS transporter, which also stops while NATS is away, and tells why it cannot connect. */
export class NatsTransporter extends Transporters.NATS {
  readonly #monitor: DependencyMonitor;

  constructor(options: Partial<ConnectionOptions>, monitor: DependencyMonitor) {
    super(options);
    this.#monitor = monitor;
  }

  override async connect(): Promise<void> {
    try {
      await super.connect();
    } catch (error) {
      this.#monitor.report(false, error);
      throw error;
    }
  }

  override async disconnect(): Promise<void> {
    const connection = this.client as NatsConnection | null;
    // Moleculer gives up when this fails: the connection would go on reconnecting, and the broker not finish its stop.
    await connection?.flush().catch(() => undefined);
    await connection?.close();
    this.client = null;
  }
}
