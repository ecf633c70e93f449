import { parseArgs } from "node:util";

/** The loads there are, in the order they run: creating comes last, since it changes the table. */
export const LOADS = ["get", "list", "deep", "create"] as const;
export type Load = (typeof LOADS)[number];

/** What the command line asks for. */
export interface Options {
  loads: readonly Load[];
  rounds: number;
  secondsPerRun: number;
  users: number;
  connections: number[];
  /** Where CPU profiles of the measured processes go; undefined: none are taken. */
  profileDir: string | undefined;
  /** Whether everything is measured in full, so that the figures may go on record. */
  isComplete: boolean;
}

const DEFAULTS = { rounds: "5", seconds: "6", users: "1000000", connections: "10,50" };

/** @throws when an option is unknown or has a wrong value */
export function parseOptions(args: string[]): Options {
  const { values } = parseArgs({
    args,
    options: {
      only: { type: "string" },
      rounds: { type: "string", default: DEFAULTS.rounds },
      seconds: { type: "string", default: DEFAULTS.seconds },
      users: { type: "string", default: DEFAULTS.users },
      connections: { type: "string", default: DEFAULTS.connections },
      profile: { type: "string" },
    },
  });
  return {
    loads: values.only === undefined ? LOADS : values.only.split(",").map(loadNamed),
    rounds: positive("rounds", values.rounds),
    secondsPerRun: positive("seconds", values.seconds),
    users: positive("users", values.users),
    connections: values.connections.split(",").map((count) => positive("connections", count)),
    profileDir: values.profile,
    isComplete:
      values.only === undefined &&
      values.profile === undefined &&
      values.users === DEFAULTS.users &&
      values.connections === DEFAULTS.connections &&
      Number(values.rounds) >= Number(DEFAULTS.rounds),
  };
}

function loadNamed(name: string): Load {
  const load = LOADS.find((known) => known === name);
  if (!load) throw new Error(`--only: '${name}' is none of ${LOADS.join(", ")}`);
  return load;
}

function positive(option: string, text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 1)
    throw new Error(`--${option}: '${text}' is not a positive integer`);
  return value;
}
