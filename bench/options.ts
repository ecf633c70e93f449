import { readOptions, refuse, wholeNumber } from "./command-line.ts";

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

const DEFAULTS = {
  only: LOADS.join(","),
  rounds: 5,
  seconds: 6,
  users: 1_000_000,
  connections: "10,50",
  profile: undefined,
};

/** Reads the command line. One that is wrong ends the process. */
export function parseOptions(): Options {
  const { only, rounds, seconds, users, connections, profile } = readOptions(DEFAULTS);
  return {
    loads: only.split(",").map(loadNamed),
    rounds,
    secondsPerRun: seconds,
    users,
    connections: connections.split(",").map((count) => wholeNumber("--connections", count)),
    profileDir: profile,
    isComplete:
      only === DEFAULTS.only &&
      profile === undefined &&
      users === DEFAULTS.users &&
      connections === DEFAULTS.connections &&
      rounds >= DEFAULTS.rounds,
  };
}

function loadNamed(name: string): Load {
  return LOADS.find((known) => known === name) ?? refuse(`--only: '${name}' is none of ${LOADS.join(", ")}`);
}
