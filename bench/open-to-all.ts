import { ACTION_ACCESS, type AccessRule } from "../lib/access.ts";

/*
 * Loaded before a node, it lets anybody do anything: what checking costs is measured against a node that does not check.
 */

for (const name of Object.keys(ACTION_ACCESS)) {
  (ACTION_ACCESS as Record<string, AccessRule>)[name] = { anyone: true };
}
