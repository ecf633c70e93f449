import { pino, type Logger } from "pino";

/** For servers that belong to a test: what they have to say reaches the test as an error. */
export const silentLogger: Logger = pino({ level: "silent" });
