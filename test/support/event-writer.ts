import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";

import pg from "pg";

import { newId } from "../../lib/ids.ts";
import { sequencesOf, versionsBySubject, type StreamMessage } from "./event-stream.ts";

/** What a writer knows of the events that it wrote. */
export interface Written {
  readonly subjects: readonly string[];
  /** Ids of events whose commit was confirmed. */
  readonly committed: ReadonlySet<string>;
  /** Ids of events that were rolled back. */
  readonly rolledBack: ReadonlySet<string>;
}

export interface EventWriter extends Written {
  stop(): Promise<void>;
}

const SUBJECTS = 5;
const INSERT = `
  INSERT INTO events.outbox (id, type, subject, data, actor, request_id, changed_fields, occurred_at)
  VALUES ($1, 'user-updated_v1', $2, jsonb_build_object('id', $2::uuid, 'version', $3::integer), 'test', 'test', '{}', now())`;

/**
 * Writes events past the product until it is stopped, one transaction after the other: growing versions of a few
 * subjects in turn, each tenth rolled back. It goes on when the database is back; whether what was under way then was
 * committed, it does not know.
 */
export function startEventWriter(databaseUrl: string): EventWriter {
  const subjects = Array.from({ length: SUBJECTS }, newId);
  const committed = new Set<string>();
  const rolledBack = new Set<string>();
  const stopping = new AbortController();

  const write = async (client: pg.Client, count: number): Promise<void> => {
    const id = randomUUID();
    const isRollback = count % 10 === 9;
    await client.query("BEGIN");
    await client.query(INSERT, [id, subjects[count % SUBJECTS], count]);
    await client.query(isRollback ? "ROLLBACK" : "COMMIT");
    (isRollback ? rolledBack : committed).add(id);
  };
  const run = async (): Promise<void> => {
    let count = 0;
    while (!stopping.signal.aborted) {
      const client = new pg.Client({ connectionString: databaseUrl, query_timeout: 2000 });
      client.on("error", () => undefined);
      try {
        await client.connect();
        while (!stopping.signal.aborted) await write(client, ++count);
      } catch {
        await sleep(50);
      } finally {
        await client.end().catch(() => undefined);
      }
    }
  };
  const running = run();
  return {
    subjects,
    committed,
    rolledBack,
    async stop() {
      stopping.abort();
      await running;
    },
  };
}

/** What is wrong with a stream, compared with what was written. */
export interface StreamFaults {
  /** Committed events that are not in it. */
  readonly lost: readonly string[];
  /** Events in it that were rolled back. */
  readonly unfounded: readonly string[];
  /** How many messages repeat an event. */
  readonly repeated: number;
  /** Subjects whose versions do not grow. */
  readonly disordered: readonly string[];
  /** Sequence numbers that it lacks. */
  readonly gaps: readonly number[];
}

export const NO_FAULTS: StreamFaults = { lost: [], unfounded: [], repeated: 0, disordered: [], gaps: [] };

/** @param head the last sequence number that was given */
export function faultsOf(
  messages: readonly StreamMessage[],
  { subjects, committed, rolledBack }: Written,
  head: number,
): StreamFaults {
  const ids = new Set(messages.map(({ event }) => event.id));
  const versions = versionsBySubject(messages);
  const isDisordered = (subject: string): boolean => {
    const of = versions.get(subject) ?? [];
    return of.some((version, index) => version < (of[index - 1] ?? 0));
  };
  const sequences = new Set(sequencesOf(messages));
  return {
    lost: [...committed].filter((id) => !ids.has(id)),
    unfounded: [...rolledBack].filter((id) => ids.has(id)),
    repeated: messages.length - ids.size,
    disordered: subjects.filter(isDisordered),
    gaps: Array.from({ length: head }, (_, index) => index + 1).filter(
      (sequence) => !sequences.has(sequence),
    ),
  };
}
