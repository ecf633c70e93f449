/** Lets only so many pieces of work run at the same time, the others in the order in which they came. */
export class Slots {
  #free: number;
  readonly #waiting: (() => void)[] = [];

  constructor(count: number) {
    this.#free = count;
  }

  /** Lets in all that wait, and whatever comes. */
  open(): void {
    this.#free = Infinity;
    for (const enter of this.#waiting.splice(0)) enter();
  }

  async run<T>(work: () => Promise<T>): Promise<T> {
    if (this.#free > 0) this.#free -= 1;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    try {
      return await work();
    } finally {
      const enter = this.#waiting.shift();
      if (enter) enter();
      else this.#free += 1;
    }
  }
}
