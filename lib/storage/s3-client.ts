import { S3Client } from "@aws-sdk/client-s3";

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
}

/** The SDK tries again when a connection breaks or the server says that it is busy. */
const MAX_ATTEMPTS = 2;
const MAX_SOCKETS = 100;

const nothing = (): void => undefined;
/** Without a logger, the SDK writes to the console. */
const SILENT = { debug: nothing, info: nothing, warn: nothing, error: nothing };

export function createS3Client(options: S3ClientOptions): S3Client {
  const { endpoint, region, accessKeyId, secretAccessKey, isPathStyle, timeoutMs } = options;
  return new S3Client({
    region,
    forcePathStyle: isPathStyle,
    maxAttempts: MAX_ATTEMPTS,
    // Servers other than AWS often do not know the checksums that the SDK would add to every request.
    requestChecksumCalculation: "WHEN_REQUIRED",
    responseChecksumValidation: "WHEN_REQUIRED",
    logger: SILENT,
    requestHandler: {
      connectionTimeout: timeoutMs,
      httpAgent: { maxSockets: MAX_SOCKETS },
      httpsAgent: { maxSockets: MAX_SOCKETS },
    },
    ...(endpoint !== undefined && { endpoint }),
    ...(accessKeyId !== undefined &&
      secretAccessKey !== undefined && { credentials: { accessKeyId, secretAccessKey } }),
  });
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
