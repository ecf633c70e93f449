/** One line of what a node shows to Prometheus. */
export interface Sample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

/** What a node shows to Prometheus. */
export class MetricsText {
  readonly text: string;
  readonly samples: readonly Sample[];

  constructor(text: string) {
    this.text = text;
    this.samples = text
      .split("\n")
      .filter((line) => line !== "" && !line.startsWith("#"))
      .map(toSample);
  }

  /** The samples of a metric that have these labels, and maybe others. */
  all(name: string, labels: Sample["labels"] = {}): Sample[] {
    return this.samples.filter(
      (sample) =>
        sample.name === name && Object.entries(labels).every(([key, value]) => sample.labels[key] === value),
    );
  }

  /** The value of the one sample with these labels; undefined when there is none. Fails when there are several. */
  value(name: string, labels: Sample["labels"] = {}): number | undefined {
    const [sample, ...others] = this.all(name, labels);
    if (others.length > 0) throw new Error(`${name} with ${JSON.stringify(labels)} is not one sample`);
    return sample?.value;
  }
}

/** @throws {Error} when the line is no sample. */
function toSample(line: string): Sample {
  const [, name, labels = "", value] = /^(\w+)(?:\{(.*)\})? (\S+)$/.exec(line) ?? [];
  if (name === undefined) throw new Error(`not a sample: ${line}`);
  const pairs = [...labels.matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)].map(([, key, text]) => [key, text]);
  return { name, labels: Object.fromEntries(pairs) as Sample["labels"], value: Number(value) };
}
