const BITS = 4;

/** The colour that most of an image has, as `#rrggbb`: the mean of the fullest of 4,096 boxes. @param rgba its pixels */
export function dominantColor(rgba: Uint8Array): string {
  const boxes = new Map<number, { weight: number; red: number; green: number; blue: number }>();
  for (let at = 0; at < rgba.length; at += 4) {
    const [red = 0, green = 0, blue = 0, weight = 0] = rgba.subarray(at, at + 4);
    const shift = 8 - BITS;
    const key = ((red >> shift) << (2 * BITS)) | ((green >> shift) << BITS) | (blue >> shift);
    const box = boxes.get(key) ?? { weight: 0, red: 0, green: 0, blue: 0 };
    box.weight += weight;
    box.red += red * weight;
    box.green += green * weight;
    box.blue += blue * weight;
    boxes.set(key, box);
  }
  let fullest = { weight: 0, red: 0, green: 0, blue: 0 };
  for (const box of boxes.values()) if (box.weight > fullest.weight) fullest = box;
  const { weight, red, green, blue } = fullest;
  // All of it may be transparent.
  return `#${[red, green, blue].map((sum) => hex(sum / Math.max(1, weight))).join("")}`;
}

function hex(value: number): string {
  return Math.round(value).toString(16).padStart(2, "0");
}
