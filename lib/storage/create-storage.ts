import { join } from "node:path";
import type { Logger } from "pino";
import type { Config } from "../config.ts";
import { DependencyMonitor } from "../dependency-monitor.ts";
import type { Storage } from "./storage.ts";

/** The storage that the configuration names. Only its code is loaded: the SDK for S3 takes 10 MB of memory. */
export async function createStorage(config: Config, log: Logger): Promise<Storage> {
  const { STORAGE, STORAGE_TIMEOUT_MS: timeoutMs, DATA_DIR, S3_BUCKET } = config;
  if (STORAGE === "disk" || S3_BUCKET === undefined) {
    const { DiskStorage } = await import("./disk.ts");
    return new DiskStorage({ root: join(DATA_DIR, "images"), timeoutMs, log });
  }
  const { S3Storage } = await import("./s3.ts");
  return new S3Storage({
    endpoint: config.S3_ENDPOINT,
    publicEndpoint: config.S3_PUBLIC_ENDPOINT,
    region: config.S3_REGION,
    bucket: S3_BUCKET,
    accessKeyId: config.S3_ACCESS_KEY_ID,
    secretAccessKey: config.S3_SECRET_ACCESS_KEY,
    isPathStyle: config.S3_PATH_STYLE === "on",
    timeoutMs,
    log,
  });
}

/** Watches a storage. Of S3, each look is a request that is paid for. */
export function storageMonitor(storage: Storage, config: Config, log: Logger): DependencyMonitor {
  return new DependencyMonitor({
    name: "storage",
    log,
    check: () => storage.check(),
    intervalMs: 5000,
    timeoutMs: config.STORAGE_TIMEOUT_MS,
  });
}
