/**
 * A bare script that calls sharp for the files that Rollcall makes: as clever about it, with one decode for each image,
 * and nothing else. Its parent sends what to do and gets how long that took.
 */
import { join } from "node:path";
import sharp, { type Sharp } from "sharp";

/** What to make, of one image again and again. */
export interface PeerJob {
  source: string;
  folder: string;
  presets: readonly { name: string; width: number; height: number; fit: "cover" | "inside" }[];
  images: number;
  /** At the same time. */
  parallel: number;
}

const ENCODERS: Readonly<Record<string, (image: Sharp) => Sharp>> = {
  avif: (image) => image.avif({ quality: 50, effort: 0, chromaSubsampling: "4:2:0" }),
  webp: (image) => image.webp({ quality: 80, effort: 2 }),
  jpeg: (image) => image.jpeg({ quality: 80 }),
};

sharp.cache(false);
// The images that are in work at the same time keep all cores busy.
sharp.concurrency(1);

async function makeImage({ source, folder, presets }: PeerJob): Promise<void> {
  const side = Math.max(...presets.map(({ width, height }) => Math.max(width, height)));
  const decoded = await sharp(source)
    .autoOrient()
    .resize(side, side, { fit: "inside", withoutEnlargement: true })
    .raw()
    .toBuffer({ resolveWithObject: true });
  for (const { name, width, height, fit } of presets) {
    const { data, info } = await sharp(decoded.data, { raw: decoded.info })
      .resize(width, height, { fit, withoutEnlargement: true })
      .raw()
      .toBuffer({ resolveWithObject: true });
    for (const [format, encode] of Object.entries(ENCODERS)) {
      await encode(sharp(data, { raw: info })).toFile(join(folder, `${name}.${format}`));
    }
  }
}

process.on("message", (job: PeerJob) => {
  const startedAt = performance.now();
  let begun = 0;
  const workers = Array.from({ length: job.parallel }, async () => {
    while (begun < job.images) {
      begun += 1;
      await makeImage(job);
    }
  });
  void Promise.all(workers).then(() => process.send?.((performance.now() - startedAt) / 1000));
});
