import { stopGlobalServers } from "./global-servers.ts";

/** Jest calls this once, after the last test file. */
export default stopGlobalServers;
