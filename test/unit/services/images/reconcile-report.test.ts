import { expect, test } from "@jest/globals";

import type { ReconcileReport } from "../../../../services/images/images.contract.ts";
import { reportLines } from "../../../../services/images/reconcile-report.ts";

const REPORT: ReconcileReport = {
  images: 5,
  objects: 60,
  rowsWithoutBytes: [],
  bytesWithoutRows: [],
  found: 0,
  missingFiles: 0,
  isForeign: false,
  isFixed: false,
};

test("a report of what fits is one line", () => {
  expect(reportLines(REPORT)).toEqual(["5 images, 60 objects: 0 do not fit."]);
});

test("a report says what was found, how much more of it there is, and whether it is mended", () => {
  const found = { rowsWithoutBytes: ["a"], bytesWithoutRows: ["originals/b"], found: 5, missingFiles: 2 };
  expect(reportLines({ ...REPORT, ...found, isFixed: true })).toEqual([
    "image a: its original is not there: deleted",
    "object originals/b: it belongs to no image: removed",
    "and 3 more",
    "5 images, 60 objects: 5 do not fit and are mended.",
    "2 files are made when they are asked for.",
  ]);
});
