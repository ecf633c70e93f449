import { createHash } from "node:crypto";
import { S3Client } from "@aws-sdk/client-s3";
import { MAX_SLOW_READS } from "./storage.ts";

export interface S3ClientOptions {
  /** Undefined: that of AWS. */
  endpoint: string | undefined;
  region: string;
  /** Undefined: what AWS gives the machine. */
  accessKeyId: string | undefined;
  secretAccessKey: string | undefined;
  /** Whether the bucket is in the path of URLs, and not in the host name. */
  isPathStyle: boolean;
  timeoutMs: number;
  /** Connections at the same time. Only tests have another number. */
  maxSockets?: number;
}

/** The SDK tries again when a connection breaks or the server says that it is busy, but not what is sent as a stream. */
const MAX_ATTEMPTS = 2;
/** Readers that are slow hold one each, and leave these for everything else. */
const MAX_SOCKETS = MAX_SLOW_READS + 100;
const CHECKSUM_HEADER = /^x-amz-(?:sdk-)?checksum-/i;

const nothing = (): void => undefined;
/** Without a logger, the SDK writes to the console. */
const SILENT = { debug: nothing, info: nothing, warn: nothing, error: nothing };

export function createS3Client(options: S3ClientOptions): S3Client {
  const {
    endpoint,
    region,
    accessKeyId,
    secretAccessKey,
    isPathStyle,
    timeoutMs,
    maxSockets = MAX_SOCKETS,
  } = options;
  const client = new S3Client({
    region,
    forcePathStyle: isPathStyle,
    maxAttempts: MAX_ATTEMPTS,
    // Servers other than AWS often do not know the checksums that the SDK would add to every request.
    requestChecksumCalculation: "WHEN_REQUIRED",
    responseChecksumValidation: "WHEN_REQUIRED",
    logger: SILENT,
    requestHandler: {
      connectionTimeout: timeoutMs,
      httpAgent: { maxSockets },
      httpsAgent: { maxSockets },
    },
    ...(endpoint !== undefined && { endpoint }),
    ...(accessKeyId !== undefined &&
      secretAccessKey !== undefined && { credentials: { accessKeyId, secretAccessKey } }),
  });
  sendMd5OfRemovals(client);
  return client;
}

/**
 * Has removals sent with the one checksum that all servers know and many insist on, Content-MD5, in place of that of the
 * SDK, which it adds whatever it is told.
 */
function sendMd5OfRemovals(client: S3Client): void {
  client.middlewareStack.add(
    (next, { commandName }) =>
      (args) => {
        if (commandName !== "DeleteObjectsCommand") return next(args);
        const { headers, body } = args.request as { headers: Record<string, string>; body: string };
        for (const name of Object.keys(headers)) if (CHECKSUM_HEADER.test(name)) delete headers[name];
        headers["content-md5"] = createHash("md5").update(body).digest("base64");
        return next(args);
      },
    // Behind that of the SDK, and before the request is signed.
    { step: "build", priority: "low", name: "md5OfRemovals" },
  );
}

/** Whether a request may succeed when it is made again: the server has not said that it is to blame. */
export function mayPass(error: unknown): boolean {
  const { $metadata } = error as { $metadata?: { httpStatusCode?: number } };
  return ($metadata?.httpStatusCode ?? 500) >= 500;
}

/** What the server answers; undefined when there is no such object. That there is no such bucket is a failure. */
export async function unlessNoSuchKey<T>(answer: Promise<T>): Promise<T | undefined> {
  try {
    return await answer;
  } catch (error) {
    const { name } = error as Error;
    if (name === "NoSuchKey" || name === "NotFound") return undefined;
    throw error;
  }
}
