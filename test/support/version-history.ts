/** A read that gave a version that should have been gone. */
export interface StaleRead {
  readonly node: string;
  readonly id: string;
  readonly got: number;
  readonly expected: number;
}

/** What was written and read on several nodes, to find reads that are older than what was acknowledged. */
export class VersionHistory {
  readonly staleReads: StaleRead[] = [];
  reads = 0;
  readonly #writes: { node: string; id: string; version: number; at: number }[] = [];
  readonly #boundMs: number;

  /** @param boundMs after which every node must have heard of a write */
  constructor(boundMs: number) {
    this.#boundMs = boundMs;
  }

  get writes(): number {
    return this.#writes.length;
  }

  /** To be called when a write has been acknowledged. */
  acknowledged(node: string, id: string, version: number): void {
    this.#writes.push({ node, id, version, at: performance.now() });
  }

  /** Runs a read, and notes it when it is older than what this node has written, or than what all must know. */
  async check(node: string, id: string, read: () => Promise<{ version: number }>): Promise<void> {
    const startedAt = performance.now();
    const known = this.#writes
      .filter((write) => write.id === id && (write.node === node || write.at < startedAt - this.#boundMs))
      .map(({ version }) => version);
    const { version: got } = await read();
    this.reads += 1;
    const expected = Math.max(0, ...known);
    if (got < expected) this.staleReads.push({ node, id, got, expected });
  }
}
