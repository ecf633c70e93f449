/**
 * Node itself strips the types, so there is no transformer: what the tests load is what production loads.
 * Run with `node --experimental-vm-modules`, or better through `scripts/run-tests.ts`.
 */
const base = {
  // Only tests are discovered here; crawling the whole checkout would also read ./data, where PostgreSQL keeps its files.
  roots: ["<rootDir>/test"],
  extensionsToTreatAsEsm: [".ts"],
  transform: {},
  injectGlobals: false,
  restoreMocks: true,
  // Fails a test file that leaves a socket, a timer or a child process behind.
  testEnvironment: "<rootDir>/test/support/leak-check-environment.ts",
};

// One private PostgreSQL, NATS and Redis for a whole run; unit tests need none.
const servers = {
  globalSetup: "<rootDir>/test/support/global-setup.ts",
  globalTeardown: "<rootDir>/test/support/global-teardown.ts",
};

/** @param {string} name @param {object} [extra] */
const project = (name, extra = {}) => ({
  ...base,
  ...extra,
  displayName: name,
  testMatch: [`<rootDir>/test/${name}/**/*.test.ts`],
});

export default {
  // A process that does not end by then is held open by what a test has left. A busy machine ends none in jest's own 0.5 s.
  workerGracefulExitTimeout: 30_000,
  openHandlesTimeout: 30_000,
  // Of each test and hook. Ends only what hangs: on a busy machine a few nodes and servers take many seconds to start.
  testTimeout: 300_000,
  projects: [
    project("unit"),
    project("contract", servers),
    project("integration", servers),
    project("e2e", servers),
  ],
};
