import { runProcess } from "./run-process.ts";

/*
 * `npm start`: runs one node until it gets SIGTERM or SIGINT. With `--repl` it also opens the Moleculer REPL.
 */
await runProcess();
