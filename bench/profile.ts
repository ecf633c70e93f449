/**
 * Says where the time of a process went: `node bench/profile.ts <file>.cpuprofile [seconds to skip]`. The start of a
 * process is skipped (5 s unless told), since modules are loaded and compiled there.
 */
import { readFile } from "node:fs/promises";
import { relative, sep } from "node:path";
import { fileURLToPath } from "node:url";

interface CallFrame {
  functionName: string;
  url: string;
  lineNumber: number;
}

interface ProfileNode {
  id: number;
  callFrame: CallFrame;
  children?: number[];
}

/** What `--cpu-prof` writes: times are microseconds, `samples` are ids of nodes. */
interface CpuProfile {
  nodes: ProfileNode[];
  samples: number[];
  timeDeltas: number[];
}

/** Groups of frames that belong to no package. */
const IDLE = "(idle)";
const NODE = "node";
const TOP_FUNCTIONS = 30;

const [file, skippedSeconds = "5"] = process.argv.slice(2);
if (!file || file.startsWith("-")) {
  console.log("usage: node bench/profile.ts FILE.cpuprofile [SECONDS TO SKIP]");
  process.exit(file === "--help" ? 0 : 1);
}
const profile = JSON.parse(await readFile(file, "utf8")) as CpuProfile;
printSummary(profile, selfTimes(profile, Number(skippedSeconds) * 1e6));

/** Microseconds spent in each node itself, without its callees. */
function selfTimes({ samples, timeDeltas }: CpuProfile, skipped: number): Map<number, number> {
  const times = new Map<number, number>();
  let now = 0;
  samples.forEach((id, index) => {
    const delta = timeDeltas[index] ?? 0;
    now += delta;
    if (now > skipped) times.set(id, (times.get(id) ?? 0) + delta);
  });
  return times;
}

function printSummary({ nodes }: CpuProfile, times: Map<number, number>): void {
  const parents = new Map(
    nodes.flatMap(({ id, children = [] }) => children.map((child) => [child, id] as const)),
  );
  const byId = new Map(nodes.map((node) => [node.id, node]));

  const byPackage = new Map<string, number>();
  const byCause = new Map<string, number>();
  const byFunction = new Map<string, number>();
  for (const { id, callFrame } of nodes) {
    const time = times.get(id) ?? 0;
    const owner = packageOf(callFrame);
    if (owner === IDLE) continue;
    add(byPackage, owner, time);
    add(byCause, causeOf(id, byId, parents), time);
    add(byFunction, `${owner}: ${callFrame.functionName || "(anonymous)"} ${placeOf(callFrame)}`, time);
  }
  printShares("Self time by package", byPackage);
  printShares("The same, with what Node does on behalf of a package counted as the package's", byCause);
  printShares("Self time by function", byFunction, TOP_FUNCTIONS);
}

/** The package of the nearest caller that is not Node itself. */
function causeOf(id: number, byId: Map<number, ProfileNode>, parents: Map<number, number>): string {
  for (let current: number | undefined = id; current !== undefined; current = parents.get(current)) {
    const owner = packageOf((byId.get(current) as ProfileNode).callFrame);
    if (owner !== NODE) return owner;
  }
  return NODE;
}

/** `moleculer`, `node`, our own folder such as `services/api`, or V8's own `(garbage collector)`. */
function packageOf({ functionName, url }: CallFrame): string {
  if (url === "" && functionName === "(root)") return NODE;
  if (url === "" && functionName.startsWith("(") && functionName !== "(anonymous)") return functionName;
  if (!url.startsWith("file:") && !url.startsWith("/")) return NODE;
  const path = pathOf(url);
  const [, inPackages] = path.split(`node_modules${sep}`);
  if (inPackages === undefined) return path.split(sep).slice(0, -1).join(sep);
  const [scope = "", name = ""] = inPackages.split(sep);
  return scope.startsWith("@") ? `${scope}/${name}` : scope;
}

function placeOf({ url, lineNumber }: CallFrame): string {
  return url === "" ? "" : `${pathOf(url).replace(/.*node_modules./, "")}:${lineNumber + 1}`;
}

function pathOf(url: string): string {
  if (url.startsWith("node:")) return url;
  return relative(process.cwd(), url.startsWith("file:") ? fileURLToPath(url) : url);
}

function add(totals: Map<string, number>, key: string, time: number): void {
  totals.set(key, (totals.get(key) ?? 0) + time);
}

function printShares(title: string, totals: Map<string, number>, count = Infinity): void {
  const total = [...totals.values()].reduce((sum, time) => sum + time, 0);
  console.log(`\n${title} (${(total / 1e6).toFixed(1)} s)`);
  const entries = [...totals].toSorted(([, a], [, b]) => b - a).filter(([, time]) => time / total >= 0.002);
  for (const [key, time] of entries.slice(0, count))
    console.log(`${((time / total) * 100).toFixed(1).padStart(6)} %  ${key}`);
}
