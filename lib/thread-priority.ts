import { constants, getPriority, setPriority } from "node:os";

/**
 * Lowers the priority of a thread below the one that it has, as the system lets nobody go up again: a node may have been
 * started with a low one itself. Linux only; elsewhere priorities are those of whole processes.
 *
 * @param steps nice levels
 * @param threadId of the system; by default that of the caller
 */
export function lowerPriority(steps: number, threadId = 0): void {
  setPriority(threadId, Math.min(getPriority(threadId) + steps, constants.priority.PRIORITY_LOW));
}
