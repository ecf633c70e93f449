import type { Answer, Cache, Load } from "./cache.ts";
import { entryOf } from "./entry.ts";
import { CacheStatistics } from "./statistics.ts";

/** Keeps nothing, so that every call is answered by what is behind the cache. */
export class NoCache implements Cache {
  readonly statistics = new CacheStatistics();

  peek(): undefined {
    return undefined;
  }

  async get(): Promise<undefined> {}

  async read(_key: string, load: Load): Promise<Answer> {
    return { entry: entryOf(await load()), source: "database" };
  }

  refresh(key: string, load: Load): Promise<Answer> {
    return this.read(key, load);
  }

  async change(): Promise<void> {}

  async put(): Promise<void> {}

  async purge(): Promise<void> {}

  recent(): [] {
    return [];
  }

  async sizes(): Promise<[]> {
    return [];
  }

  start(): void {}

  stop(): void {}
}
