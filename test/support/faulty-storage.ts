import type { Node } from "../../bootstrap/node.ts";
import type { ServiceFactory } from "../../bootstrap/running-node.ts";
import { appError } from "../../broker/errors.ts";
import type { Storage } from "../../lib/storage/storage.ts";
import { createImagesService } from "../../services/images/images.service.ts";

/** A storage that works, but for what a test wants to fail. */
export class FaultyStorage implements Storage {
  /** Called before an object is stored; what it throws is thrown. */
  onPut: (key: string) => Promise<void> = async () => undefined;
  /** Called before objects are removed. */
  onRemove: (keys: readonly string[]) => Promise<void> = async () => undefined;
  readonly #storage: Storage;

  constructor(storage: Storage) {
    this.#storage = storage;
  }

  /** All works again. */
  mend(): void {
    this.onPut = async () => undefined;
    this.onRemove = async () => undefined;
  }

  async put(...args: Parameters<Storage["put"]>): Promise<void> {
    await this.onPut(args[0]);
    await this.#storage.put(...args);
  }

  async remove(keys: readonly string[]): Promise<void> {
    await this.onRemove(keys);
    await this.#storage.remove(keys);
  }

  head: Storage["head"] = (key) => this.#storage.head(key);
  read: Storage["read"] = (...args) => this.#storage.read(...args);
  list: Storage["list"] = (...args) => this.#storage.list(...args);
  directPut: Storage["directPut"] = (...args) => this.#storage.directPut(...args);
  check: Storage["check"] = () => this.#storage.check();
  close(): void {
    this.#storage.close();
  }
}

/** The images service on a storage of the test: a sibling of the services of a node. */
export function imagesOn(storage: Storage): ServiceFactory {
  return (node: Node) =>
    createImagesService(Object.defineProperty(Object.create(node) as Node, "storage", { value: storage }));
}

/** What a storage throws that is away. */
export const storageAway = (): Error => appError("STORAGE_UNAVAILABLE");
