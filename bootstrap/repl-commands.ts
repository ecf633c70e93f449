import type { ServiceBroker } from "moleculer";
import { call } from "../lib/contracts.ts";
import { toProblem } from "../lib/problem.ts";
import { reportLines } from "../services/images/reconcile-report.ts";

/** A command of the Moleculer REPL, which has no types of its own. */
export interface ReplCommand {
  /** With its arguments: `<name>` is needed, `[name]` is not. */
  command: string;
  description: string;
  options?: { option: string; description: string }[];
  action(broker: ServiceBroker, params: ReplParams): Promise<void>;
}

interface ReplParams {
  options: ReplOptions;
  /** The argument of `events:replay`. */
  what?: string;
  /** Those of `cache:purge`. */
  namespace?: string;
  id?: string;
  /** That of `cache:warm`. */
  limit?: string;
}

interface ReplOptions {
  fix?: boolean;
  consumer?: string;
  cursor?: string;
  replayed?: boolean;
}

/** What operators do about events. */
const EVENT_COMMANDS: readonly ReplCommand[] = [
  {
    command: "events:status",
    description: "Show how far the relay is",
    action: (broker) => print(() => call(broker, "events.status", {})),
  },
  {
    command: "events:dead-letters",
    description: "List the events that durable consumers have given up",
    options: [
      { option: "--consumer <name>", description: "Only those of this consumer" },
      { option: "--replayed", description: "Those that were handled after all" },
      { option: "--cursor <cursor>", description: "Go on where a list has ended" },
    ],
    action: (broker, { options }) => print(() => listDeadLetters(broker, options)),
  },
  {
    command: "events:replay <what>",
    description:
      "Publish events again, from a sequence number on, or retry a dead letter, by the id of its event",
    options: [{ option: "--consumer <name>", description: "Of a dead letter: only this consumer" }],
    action: (broker, { what = "", options }) =>
      print(() =>
        /^\d+$/.test(what) ? replayFrom(broker, Number(what)) : retryDeadLetter(broker, what, options),
      ),
  },
];

/** What operators do about the caches. */
const CACHE_COMMANDS: readonly ReplCommand[] = [
  {
    command: "cache:stats",
    description: "Show what the caches of all nodes have done",
    action: (broker) => print(() => showCache(broker)),
  },
  {
    command: "cache:purge [namespace] [id]",
    description: "Drop everything that is cached, or of one action, or there of one resource",
    action: (broker, { namespace, id }) =>
      print(async () => {
        const { namespaces } = await call(broker, "cache.purge", {
          ...(namespace !== undefined && { namespace }),
          ...(id !== undefined && { id }),
        });
        return `Purged: ${namespaces.join(", ")}.`;
      }),
  },
  {
    command: "cache:warm [limit]",
    description: "Put the users that were read last into Redis",
    action: (broker, { limit }) =>
      print(async () => {
        const { users } = await call(broker, "cache.warm", {
          ...(limit !== undefined && { limit: Number(limit) }),
        });
        return `${users} users are cached.`;
      }),
  },
];

/** What operators do about images. */
const IMAGE_COMMANDS: readonly ReplCommand[] = [
  {
    command: "images:reconcile",
    description: "Find images without bytes, and bytes without an image",
    options: [{ option: "--fix", description: "Delete both" }],
    action: (broker, { options: { fix = false } }) =>
      print(async () => reportLines(await call(broker, "images.reconcile", { fix })).join("\n")),
  },
];

/** Ours. They are typed as `events status` and `cache stats` too, see {@link toReplCommand}. */
export const REPL_COMMANDS: readonly ReplCommand[] = [
  ...EVENT_COMMANDS,
  ...CACHE_COMMANDS,
  ...IMAGE_COMMANDS,
];

async function showCache(broker: ServiceBroker): Promise<string> {
  const { nodes, levels } = await call(broker, "cache.stats", {});
  console.table(levels);
  return `Of ${nodes} nodes, since the start of each.`;
}

/**
 * What a line means to the REPL: its own commands `events` and `cache` do other things, and a command can have no
 * subcommands, so `events status` is `events:status`.
 */
export function toReplCommand(line: string): string {
  return line
    .replace(/^\s*events +(?=status|dead-letters|replay)/, "events:")
    .replace(/^\s*cache +(?=stats|purge|warm)/, "cache:")
    .replace(/^\s*images +(?=reconcile)/, "images:");
}

async function listDeadLetters(
  broker: ServiceBroker,
  { consumer, cursor, replayed = false }: ReplOptions,
): Promise<string> {
  const { data, nextCursor } = await call(broker, "events.deadLetters", {
    isReplayed: replayed,
    ...(consumer !== undefined && { consumer }),
    ...(cursor !== undefined && { cursor }),
  });
  if (data.length === 0) return "There are no dead letters.";
  const rows = data.map(({ event, ...letter }) => ({
    event: event.id,
    type: event.type,
    subject: event.subject,
    consumer: letter.consumer,
    attempts: letter.attempts,
    error: `${letter.errorType}: ${letter.errorMessage}`,
    "last failed": letter.lastFailedAt,
  }));
  console.table(rows);
  return nextCursor === null ? "These are all." : `There are more: --cursor ${nextCursor}`;
}

async function replayFrom(broker: ServiceBroker, from: number): Promise<string> {
  const range = await call(broker, "events.replay", { from });
  return range
    ? `The events ${range.from} to ${range.to} are published again.`
    : "Nothing that was published from there on is left in the log.";
}

async function retryDeadLetter(
  broker: ServiceBroker,
  id: string,
  { consumer }: ReplOptions,
): Promise<string> {
  const { requested } = await call(broker, "events.replayDeadLetter", {
    id,
    ...(consumer !== undefined && { consumer }),
  });
  return `Consumers that try the event again: ${requested}.`;
}

/** Shows a result, or what is wrong in one line: the REPL would write a stack into the log. */
async function print(work: () => Promise<unknown>): Promise<void> {
  try {
    console.log(await work());
  } catch (error) {
    const { code, detail, errors } = toProblem(error, { instance: "", requestId: "" });
    console.error(`${code}: ${errors ? errors.map(({ message }) => message).join(" ") : detail}`);
  }
}
