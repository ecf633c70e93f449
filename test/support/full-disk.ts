/**
 * Loaded into a node (`--import`), this fills the disk below the folder FULL_DISK. The file of the same name with `.room`
 * says how many files there is still room for; without it there is enough. As on a real disk, of the first file that does
 * not fit a part is written. A file system of limited size would need rights that tests do not have everywhere.
 */
import { existsSync, promises, readFileSync, writeFileSync } from "node:fs";
import { syncBuiltinESMExports } from "node:module";

const folder = process.env["FULL_DISK"] ?? "";
const room = `${folder}.room`;
const { copyFile, readFile, writeFile } = promises;

function takeRoom(): boolean {
  if (!existsSync(room)) return true;
  const left = Number(readFileSync(room, "utf8"));
  if (left > 0) writeFileSync(room, String(left - 1));
  return left > 0;
}

promises.copyFile = async (source, path, mode) => {
  const isOnDisk = typeof path === "string" && path.startsWith(folder);
  if (!isOnDisk || takeRoom()) return copyFile(source, path, mode);
  const bytes = await readFile(source);
  await writeFile(path, bytes.subarray(0, bytes.length / 2));
  throw Object.assign(new Error("ENOSPC: no space left on device, copyfile"), { code: "ENOSPC", errno: -28 });
};
syncBuiltinESMExports();
