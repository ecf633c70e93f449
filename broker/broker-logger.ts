import type { Logger } from "pino";
import { atMostEvery } from "../lib/waiting.ts";

/** What a logger of Moleculer is for. */
export interface LogBindings {
  mod: string;
  svc?: string;
}

/** Said at every attempt of every call, whose caller gets an error that says the same. */
const MISSING_SERVICE = /^Service '.*' is not (?:registered|available)/;
const MISSING_SERVICE_INTERVAL_MS = 10_000;

/**
 * The logger of a part of Moleculer. The broker's own notes on how it starts are for those who debug it, and that a
 * service is missing is said now and then, as it may be called a thousand times a second.
 */
export function brokerLogger(log: Logger, level: string, { mod, svc }: LogBindings): Logger {
  const isBroker = mod === "broker";
  const isNoisy = isBroker && level === "info";
  const child = log.child({ mod, ...(svc && { svc }) }, { level: isNoisy ? "warn" : level });
  return isBroker ? withoutRepetition(child) : child;
}

function withoutRepetition(log: Logger): Logger {
  const said = new Map<string, () => void>();
  const warn = (...args: Parameters<Logger["warn"]>): void => {
    const [text] = args as unknown[];
    if (typeof text !== "string" || !MISSING_SERVICE.test(text)) {
      log.warn(...args);
      return;
    }
    const say = said.get(text) ?? atMostEvery(MISSING_SERVICE_INTERVAL_MS, () => log.warn(text));
    said.set(text, say);
    say();
  };
  return Object.assign(Object.create(log) as Logger, { warn });
}
