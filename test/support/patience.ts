/** Settings of nodes, with which what takes long on a busy machine does not look like a loss. */
export const PATIENCE = {
  REDIS_TIMEOUT_MS: "2000",
  REQUEST_TIMEOUT_MS: "15000",
  DATABASE_STATEMENT_TIMEOUT_MS: "10000",
  DATABASE_ACQUIRE_TIMEOUT_MS: "10000",
};

/** The same for a node that is a process of its own, whose first calls come while the machine is busy with its start. */
export const PROCESS_PATIENCE = {
  REQUEST_TIMEOUT_MS: "30000",
  DATABASE_STATEMENT_TIMEOUT_MS: "20000",
  DATABASE_ACQUIRE_TIMEOUT_MS: "20000",
};

/** The same for what is done about images. */
export const IMAGE_PATIENCE = {
  STORAGE_TIMEOUT_MS: "20000",
  IMAGE_TIMEOUT_MS: "60000",
};
