const START_OF_SCAN = 0xda;
const FILL = 0xff;
/** All frequencies, in full precision: a sequential JPEG has no other scans. */
const ALL_OF_THEM = [0, 63, 0];

/**
 * Corrects what the header of the first scan of a sequential JPEG says about frequencies (ITU-T T.81, B.2.3). Software of
 * Samsung has written zeros there into many photographs.
 *
 * @param jpeg with whole segments up to the scan
 */
export function mendScanHeader(jpeg: Buffer): void {
  let at = 2;
  while (jpeg[at + 1] !== START_OF_SCAN) at += jpeg[at + 1] === FILL ? 1 : 2 + jpeg.readUInt16BE(at + 2);
  const end = at + 2 + jpeg.readUInt16BE(at + 2);
  jpeg.set(ALL_OF_THEM, end - ALL_OF_THEM.length);
}
