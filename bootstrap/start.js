import { keepCompiledCode } from "./compile-cache.js";

/*
 * `npm start`: runs one node until it gets SIGTERM or SIGINT. With `--repl` it also opens the Moleculer REPL.
 */
keepCompiledCode();
const { runProcess } = await import("./run-process.ts");
await runProcess();
