import type { ReconcileReport } from "./images.contract.ts";

const FOREIGN =
  "Not one image has its bytes in this storage: it is not the one of this database. Nothing is mended.";

/** A report as operators read it. */
export function reportLines(report: ReconcileReport): string[] {
  const { images, objects, rowsWithoutBytes, bytesWithoutRows, found, missingFiles, isForeign, isFixed } =
    report;
  const told = rowsWithoutBytes.length + bytesWithoutRows.length;
  return [
    ...rowsWithoutBytes.map((id) => `image ${id}: its original is not there${isFixed ? ": deleted" : ""}`),
    ...bytesWithoutRows.map((key) => `object ${key}: it belongs to no image${isFixed ? ": removed" : ""}`),
    ...(found > told ? [`and ${found - told} more`] : []),
    `${images} images, ${objects} objects: ${found} do not fit${isFixed && found > 0 ? " and are mended" : ""}.`,
    ...(isForeign ? [FOREIGN] : []),
    ...(missingFiles > 0 ? [`${missingFiles} files are made when they are asked for.`] : []),
  ];
}
