import { renderPixels } from "../../../image/render.ts";
import type { Drawing } from "./animal.ts";
import type { Random } from "./random.ts";

/** Takes a picture of a drawing: exposure, blur and sensor noise, as a JPEG file. */
export async function photograph(drawing: Drawing, random: Random): Promise<Uint8Array> {
  return renderPixels(drawing.svg, { blur: drawing.blur, quality: drawing.quality }, (rgb) => {
    for (let i = 0; i < rgb.length; i++) {
      // The sum of three uniform numbers is close enough to a normal one and much cheaper.
      const noise = (random.next() + random.next() + random.next() - 1.5) * 2 * drawing.noise;
      rgb[i] = Math.max(0, Math.min(255, rgb[i]! * drawing.gain + noise));
    }
  });
}
