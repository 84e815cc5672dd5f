import { drawBody, type Pose, type Species } from "./bodies.ts";
import { drawFur } from "./fur.ts";
import { catFace, catProfile, dogFace, dogProfile } from "./heads.ts";
import type { Random } from "./random.ts";
import { drawScene } from "./scene.ts";
import { element, ellipse, group, n } from "./svg.ts";

export type { Species } from "./bodies.ts";

/** A picture as SVG, and what the camera adds to it. */
export interface Drawing {
  readonly svg: string;
  /** Standard deviation of the sensor's noise, in steps of 0..255. */
  readonly noise: number;
  /** Exposure: factor on every channel. */
  readonly gain: number;
  /** Gaussian blur in pixels; 0 for a sharp picture. */
  readonly blur: number;
  readonly quality: number;
}

/** Draws a cat or a dog: pose, build, colour, markings, place, light and camera are left to chance. */
export function drawAnimal(species: Species, random: Random): Drawing {
  const width = Math.round(random.range(128, 200));
  const height = Math.round(random.range(120, 180));
  const pose: Pose = random.pick(["face", "face", "face", "face", "sit", "sit", "stand", "lie"]);
  const scene = drawScene(width, height, height * random.range(0.55, 0.8), random);
  const svg = element(
    "svg",
    { xmlns: "http://www.w3.org/2000/svg", width, height, viewBox: `0 0 ${width} ${height}` },
    element("defs", {}, scene.definitions) + scene.back + placeAnimal(species, pose, width, height, random) + scene.front,
  );
  return {
    svg,
    noise: random.range(1.5, 8),
    gain: random.range(0.72, 1.15),
    blur: random.chance(0.3) ? random.range(0.5, 1.4) : 0,
    quality: Math.round(random.range(70, 92)),
  };
}

function placeAnimal(species: Species, pose: Pose, width: number, height: number, random: Random): string {
  const fur = drawFur(random);
  const body = drawBody(species, pose, fur, random);
  const [front, side] = species === "cat" ? [catFace, catProfile] : [dogFace, dogProfile];
  const { x, y, scale } = body.head;
  const head = group(
    `translate(${n(x)} ${n(y)}) rotate(${n(random.range(-14, 14))}) scale(${scale.toFixed(2)})`,
    (body.profile ? side : front)(fur, random),
  );
  const shadow = pose === "face" ? "" : ellipse(0, { sit: 82, stand: 66, lie: 28 }[pose], 68, 8, "#000", { opacity: 0.22 });
  // The box that each pose fills, in the animal's own units.
  const reach = { face: 112, sit: 172, stand: 172, lie: 160 }[pose];
  const size = (Math.min(width, height) / reach) * random.range(0.92, 1.2);
  const flip = random.chance(0.5) ? -1 : 1;
  const center = { x: width * random.range(0.36, 0.64), y: height * random.range(0.48, 0.66) };
  const transform = `translate(${n(center.x)} ${n(center.y)}) scale(${(flip * size).toFixed(3)} ${size.toFixed(3)}) rotate(${n(random.range(-7, 7))})`;
  return group(transform, shadow + body.behind + head);
}
