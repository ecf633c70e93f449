import { temporaryDir } from "./test-run.ts";
import { startImageProcessor } from "./images.ts";

/*
 * A program: processes the images whose paths it is given, one after another, writes a line for each (`done`, or the type
 * of the error), and then waits for its end.
 */

const processor = startImageProcessor();
for (const source of process.argv.slice(2)) {
  const outcome = await processor.process(source, temporaryDir("presets")).then(
    () => "done",
    (error: unknown) => (error as { type?: string }).type ?? String(error),
  );
  console.log(outcome);
}
setInterval(() => undefined, 60_000);
