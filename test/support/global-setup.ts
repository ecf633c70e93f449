import { startGlobalServers } from "./global-servers.ts";

/** Jest calls this once, before the first test file. */
export default startGlobalServers;
