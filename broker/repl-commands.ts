import type { ServiceBroker } from "moleculer";
import { call } from "../lib/contracts.ts";
import { toProblem } from "../lib/problem.ts";

/** A command of the Moleculer REPL, which has no types of its own. */
export interface ReplCommand {
  /** With its arguments: `<name>` is needed, `[name]` is not. */
  command: string;
  description: string;
  options?: { option: string; description: string }[];
  action(broker: ServiceBroker, params: ReplParams): Promise<void>;
}

/** Arguments by their name, and the options. */
interface ReplParams {
  options: Readonly<Record<string, unknown>>;
  [argument: string]: unknown;
}

/** What operators do about events. They are typed as `events status` too, see {@link toReplCommand}. */
export const REPL_COMMANDS: readonly ReplCommand[] = [
  {
    command: "events:status",
    description: "Show how far the relay is",
    action: (broker) => print(() => call(broker, "events.status", {})),
  },
  {
    command: "events:replay <from>",
    description: "Publish the events again from a sequence number on",
    action: (broker, { from }) =>
      print(async () => {
        const range = await call(broker, "events.replay", { from: Number(from) });
        return range
          ? `The events ${range.from} to ${range.to} are published again.`
          : "Nothing that was published from there on is left in the log.";
      }),
  },
];

/**
 * What a line means to the REPL: its own command `events` lists who listens to what, and a command can have no
 * subcommands, so `events status` is `events:status`.
 */
export function toReplCommand(line: string): string {
  return line.replace(/^\s*events +(?=status|dead-letters|replay)/, "events:");
}

/** Shows a result, or what is wrong in one line: the REPL would write a stack into the log. */
async function print(work: () => Promise<unknown>): Promise<void> {
  try {
    console.log(await work());
  } catch (error) {
    const { code, detail, errors = [] } = toProblem(error, { instance: "", requestId: "" });
    console.error([`${code}: ${detail}`, ...errors.map(({ message }) => message)].join(" "));
  }
}
