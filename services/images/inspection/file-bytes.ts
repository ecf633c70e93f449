import { open, type FileHandle } from "node:fs/promises";
import { setImmediate as nextTurn } from "node:timers/promises";
import { damaged, tooMuchWork } from "./image-refusals.ts";

/** The most that can be read at a time, and what is kept in memory of a file. */
export const WINDOW_BYTES = 65_536;

/** Images take a hundred, and the largest PNG thirty thousand when each of its chunks has but a kilobyte. */
const MAX_LOOKS = 50_000;
/** For less than a millisecond. Most looks find what they want in memory, which gives nobody else a turn. */
const LOOKS_IN_A_TURN = 500;

/**
 * A file that is looked at here and there, through a window of bounded size. Whatever a file says of the number of its
 * parts, it is looked at so often at most, and never for long without a break.
 */
export class FileBytes {
  readonly size: number;
  readonly #file: FileHandle;
  readonly #window = Buffer.alloc(WINDOW_BYTES);
  #start = 0;
  #length = 0;
  #looks = 0;

  private constructor(file: FileHandle, size: number) {
    this.#file = file;
    this.size = size;
  }

  /** Calls `look` with the file and closes it afterwards. */
  static async use<T>(path: string, look: (bytes: FileBytes) => Promise<T>): Promise<T> {
    await using file = await open(path);
    return await look(new FileBytes(file, (await file.stat()).size));
  }

  /**
   * `length` bytes, at most a window, from an offset on. They are valid until the next call.
   *
   * @throws IMAGE_UNREADABLE when the file ends before, or was looked at very often
   */
  async at(offset: number, length: number): Promise<Buffer> {
    const bytes = await this.upTo(offset, length);
    if (bytes.length < length) throw damaged();
    return bytes;
  }

  /** The same, but fewer bytes where the file ends. @throws IMAGE_UNREADABLE when it was looked at very often */
  async upTo(offset: number, length: number): Promise<Buffer> {
    this.#looks += 1;
    if (this.#looks > MAX_LOOKS) throw tooMuchWork();
    if (this.#looks % LOOKS_IN_A_TURN === 0) await nextTurn();
    // The system knows no offset from 2^53 on.
    if (offset >= this.size) return this.#window.subarray(0, 0);
    const end = Math.min(offset + length, this.size);
    if (offset < this.#start || end > this.#start + this.#length) {
      this.#start = offset;
      this.#length = 0;
      // A read may give less than there is.
      while (offset + this.#length < end) {
        const { bytesRead } = await this.#file.read(
          this.#window,
          this.#length,
          WINDOW_BYTES - this.#length,
          offset + this.#length,
        );
        if (bytesRead === 0) break;
        this.#length += bytesRead;
      }
    }
    const from = offset - this.#start;
    return this.#window.subarray(from, Math.min(from + length, this.#length));
  }
}
