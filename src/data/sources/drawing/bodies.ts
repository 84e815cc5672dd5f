import { markings, type Fur } from "./fur.ts";
import type { Random } from "./random.ts";
import { d, ellipse, path, stroke } from "./svg.ts";

export type Species = "cat" | "dog";
export type Pose = "face" | "sit" | "stand" | "lie";

/** A body around (0, 0), some 170 units wide or high, with a place for the head. */
export interface Body {
  readonly behind: string;
  readonly head: { readonly x: number; readonly y: number; readonly scale: number };
  /** Whether the head looks to the side. */
  readonly profile: boolean;
}

export function drawBody(species: Species, pose: Pose, fur: Fur, random: Random): Body {
  if (pose === "face") return shoulders(species, fur, random);
  if (pose === "sit") return sitting(species, fur, random);
  return pose === "stand" ? standing(species, fur, random) : lying(species, fur, random);
}

function shoulders(species: Species, fur: Fur, random: Random): Body {
  const wide = species === "cat" ? random.range(40, 56) : random.range(46, 66);
  const shape = path(d`M ${-wide} 110 Q ${-wide} 30 0 22 Q ${wide} 30 ${wide} 110 Z`, fur.base);
  const collar = random.chance(0.35) ? stroke(d`M -26 36 Q 0 50 26 36`, random.pick(["#b03a3a", "#3a62b0", "#3a8f55", "#8a4fa0"]), 6) : "";
  return {
    behind: shape + markings(fur, random, "body", shape, { x: 0, y: 70, rx: wide * 0.8, ry: 34 }) + collar,
    head: { x: 0, y: 0, scale: random.range(1.05, 1.35) },
    profile: random.chance(0.1),
  };
}

function sitting(species: Species, fur: Fur, random: Random): Body {
  const wide = species === "cat" ? random.range(34, 44) : random.range(36, 48);
  const chest = species === "cat" ? random.range(20, 27) : random.range(25, 33);
  const top = species === "cat" ? -8 : -18;
  const shape = path(
    d`M ${-chest} ${top} C ${-chest - 8} 20 ${-wide - 8} 40 ${-wide} 76 Q 0 92 ${wide} 76 C ${wide + 8} 40 ${chest + 8} 20 ${chest} ${top} Z`,
    fur.base,
  );
  const legWidth = species === "cat" ? random.range(11, 14) : random.range(13, 18);
  const paw = fur.pattern === "bib" ? fur.light : fur.base;
  const legs = [-1, 1].map(
    (side) =>
      stroke(d`M ${side * 11} 26 L ${side * 12} 74`, fur.base, legWidth) +
      stroke(d`M ${side * 20} 30 L ${side * 21} 70`, fur.dark, 1.2, { opacity: 0.5 }) +
      ellipse(side * 13, 79, legWidth * 0.75, 6, paw),
  );
  return {
    behind:
      tail(species, fur, random, wide * 0.8, 72, "sit") +
      shape +
      markings(fur, random, "body", shape, { x: 0, y: 30, rx: wide, ry: 42 }) +
      legs.join("") +
      // The neck joins the head to the body.
      stroke(d`M 0 ${top + 14} V ${top - 14}`, fur.base, chest * 1.5),
    head: { x: 0, y: species === "cat" ? -38 : -46, scale: random.range(0.82, 1) },
    profile: random.chance(0.2),
  };
}

function standing(species: Species, fur: Fur, random: Random): Body {
  const long = species === "cat" ? random.range(50, 60) : random.range(50, 66);
  const thick = species === "cat" ? random.range(19, 24) : random.range(21, 29);
  const leg = species === "cat" ? random.range(34, 42) : random.range(36, 54);
  const shape = ellipse(0, 0, long, thick, fur.base);
  const legWidth = species === "cat" ? random.range(9, 12) : random.range(10, 15);
  const walk = random.range(-9, 9);
  const legAt = (x: number, shift: number, color: string): string =>
    stroke(d`M ${x} ${thick * 0.3} L ${x + shift} ${thick + leg * 0.5} l ${shift * 0.3} ${leg * 0.5}`, color, legWidth) +
    ellipse(x + shift * 1.3 + 3, thick + leg + 2, legWidth * 0.7, 4.5, color);
  const behind = [
    tail(species, fur, random, -long * 0.9, -thick * 0.3, "stand"),
    legAt(-long * 0.6, -walk, fur.dark) + legAt(long * 0.5, walk, fur.dark),
    stroke(d`M ${long * 0.6} -4 L ${long * 0.92} -30`, fur.base, species === "cat" ? 26 : 30),
    shape,
    markings(fur, random, "body", shape, { x: 0, y: 0, rx: long, ry: thick }),
    legAt(-long * 0.72, walk, fur.base) + legAt(long * 0.62, -walk, fur.base),
  ];
  return { behind: behind.join(""), head: { x: long * 0.98, y: -38, scale: random.range(0.62, 0.78) }, profile: random.chance(0.55) };
}

function lying(species: Species, fur: Fur, random: Random): Body {
  const long = random.range(54, 66);
  const thick = species === "cat" ? random.range(22, 28) : random.range(22, 30);
  const shape = path(
    d`M ${-long} ${thick} C ${-long - 12} ${-thick * 0.6} ${-long * 0.4} ${-thick} 0 ${-thick} C ${long * 0.6} ${-thick} ${long} ${-thick * 0.4} ${long} ${thick} Z`,
    fur.base,
  );
  const paws =
    stroke(d`M ${long * 0.55} ${thick - 4} L ${long * 1.25} ${thick - 3}`, fur.base, 12) +
    stroke(d`M ${long * 0.5} ${thick - 1} L ${long * 1.12} ${thick}`, fur.dark, 1.5);
  const haunch = ellipse(-long * 0.55, thick * 0.35, 24, thick * 0.72, fur.base, {
    stroke: fur.dark,
    "stroke-width": 1.2,
    "stroke-opacity": 0.5,
  });
  return {
    behind:
      tail(species, fur, random, -long * 0.95, thick * 0.7, "lie") +
      shape +
      markings(fur, random, "body", shape, { x: 0, y: 0, rx: long, ry: thick }) +
      haunch +
      paws,
    head: { x: long * 0.72, y: -thick * 0.9 - 8, scale: random.range(0.7, 0.88) },
    profile: random.chance(0.35),
  };
}

/** A cat's tail is long, thin and curved; a dog's is shorter, thicker, straight or rolled. It starts at (x, y). */
function tail(species: Species, fur: Fur, random: Random, x: number, y: number, pose: "sit" | "stand" | "lie"): string {
  const away = pose === "sit" ? 1 : -1;
  const bend = random.range(0.7, 1.2);
  const length = species === "cat" ? random.range(48, 70) : random.range(22, 40);
  const up = pose === "lie" ? 0.15 : random.range(0.5, 1.1);
  const width = species === "cat" ? random.range(6.5, 10) : random.range(8, 14);
  if (species === "cat") {
    const curve = d`M ${x} ${y} c ${away * length * 0.5 * bend} 2 ${away * length * 0.55} ${-length * up * 0.6} ${away * length * 0.6} ${-length * up} q ${away * 2} -14 ${away * random.range(-14, 16)} -17`;
    return stroke(curve, fur.dark, width + 1.6) + stroke(curve, fur.base, width);
  }
  if (random.chance(0.25)) {
    const ring = d`M ${x} ${y} q ${away * 18} -10 ${away * 10} -24 q ${-away * 16} -8 ${-away * 12} 8`;
    return stroke(ring, fur.dark, width + 1.6) + stroke(ring, fur.base, width);
  }
  return path(
    d`M ${x} ${y + 6} q ${away * length * 0.6} -2 ${away * length} ${-length * up} q ${-away * length * 0.6} ${length * up * 0.1} ${-away * length} ${length * up - 16} Z`,
    fur.base,
    { stroke: fur.dark, "stroke-width": 1 },
  );
}
