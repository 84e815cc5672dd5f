import type { Random } from "./random.ts";
import { d, element, ellipse, stroke } from "./svg.ts";

/** Colours and markings of one animal. Cats and dogs draw from the same: colour must not tell them apart. */
export interface Fur {
  readonly base: string;
  readonly dark: string;
  readonly light: string;
  readonly skin: string;
  readonly nose: string;
  readonly pattern: "plain" | "stripes" | "spots" | "patch" | "bib";
}

type Rgb = readonly [number, number, number];

const coats: readonly [Rgb, ...Rgb[]] = [
  [214, 140, 66], // red
  [146, 142, 138], // gray
  [52, 48, 50], // black
  [122, 84, 54], // brown
  [228, 203, 160], // cream
  [236, 232, 224], // white
  [92, 62, 44], // chocolate
  [112, 122, 138], // blue
  [188, 164, 128], // fawn
];

export function drawFur(random: Random): Fur {
  const [r, g, b] = random.pick(coats);
  const shade = random.range(-16, 16);
  const base: Rgb = [r + shade + random.range(-4, 4), g + shade + random.range(-4, 4), b + shade + random.range(-4, 4)];
  return {
    base: css(base),
    dark: css(mix(base, [20, 14, 10], random.range(0.3, 0.5))),
    light: css(mix(base, [255, 250, 240], random.range(0.5, 0.85))),
    skin: random.pick(["#d9a09a", "#c98d88", "#b97f80", "#e3b5ab"]),
    nose: random.pick(["#3a2c2b", "#c87f83", "#6b4340", "#2b2526"]),
    pattern: random.pick(["plain", "plain", "stripes", "spots", "patch", "bib"]),
  };
}

function mix(a: Rgb, b: Rgb, share: number): Rgb {
  return [a[0] + (b[0] - a[0]) * share, a[1] + (b[1] - a[1]) * share, a[2] + (b[2] - a[2]) * share];
}

function css(color: Rgb): string {
  return `rgb(${color.map((value) => Math.max(0, Math.min(255, Math.round(value)))).join(",")})`;
}

/** Markings within a shape: `outline` is the shape as SVG, `box` roughly where it lies. `id` is unique in the picture. */
export function markings(
  fur: Fur,
  random: Random,
  id: string,
  outline: string,
  box: { x: number; y: number; rx: number; ry: number },
): string {
  if (fur.pattern === "plain") return "";
  const { x, y, rx, ry } = box;
  const parts: string[] = [];
  if (fur.pattern === "stripes") {
    const count = 4 + Math.floor(random.next() * 4);
    for (let i = 0; i < count; i++) {
      const at = x - rx + ((i + 0.5) * 2 * rx) / count + random.range(-2, 2);
      const bend = random.range(-8, 8);
      parts.push(
        stroke(
          d`M ${at} ${y - ry} q ${bend} ${ry * 0.7} ${random.range(-4, 4)} ${ry * random.range(0.8, 1.5)}`,
          fur.dark,
          random.range(2.5, 5.5),
        ),
      );
    }
  } else if (fur.pattern === "spots") {
    const color = random.chance(0.5) ? fur.dark : fur.light;
    const count = 4 + Math.floor(random.next() * 8);
    for (let i = 0; i < count; i++) {
      parts.push(
        ellipse(x + random.range(-rx, rx), y + random.range(-ry, ry), random.range(3, rx * 0.22), random.range(3, ry * 0.3), color),
      );
    }
  } else if (fur.pattern === "patch") {
    const color = random.chance(0.5) ? fur.dark : fur.light;
    parts.push(
      ellipse(
        x + random.range(-rx, rx) * 0.8,
        y - ry * random.range(0.2, 0.8),
        rx * random.range(0.4, 0.7),
        ry * random.range(0.5, 0.9),
        color,
      ),
    );
  } else {
    parts.push(
      ellipse(x + random.range(-0.1, 0.3) * rx, y + ry * 0.75, rx * random.range(0.35, 0.6), ry * random.range(0.5, 0.8), fur.light),
    );
  }
  return element("clipPath", { id }, outline) + element("g", { "clip-path": `url(#${id})` }, parts.join(""));
}
