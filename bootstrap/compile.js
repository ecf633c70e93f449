import { globSync } from "node:fs";
import { flushCompileCache } from "node:module";
import { join } from "node:path";

import { keepCompiledCode } from "./compile-cache.js";

/*
 * Compiles what any node may load, so that the first start is as small as all others: after `make install`, and
 * when the image is built, whose file system is read-only later.
 */
keepCompiledCode();
const ROOT = join(import.meta.dirname, "..");
const CODE = ["bootstrap/{migrate,run-process}.ts", "{broker,lib,mixins,services}/**/*.ts"];
const files = globSync(CODE, { cwd: ROOT });
await Promise.all(files.map((file) => import(join(ROOT, file))));
flushCompileCache();
// Whatever the modules have opened: nothing of it is used.
process.exit(0);
