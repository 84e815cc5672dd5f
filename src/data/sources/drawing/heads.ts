import { markings, type Fur } from "./fur.ts";
import type { Random } from "./random.ts";
import { d, ellipse, group, path, stroke } from "./svg.ts";

/** Heads are drawn around (0, 0) with a radius of about 40. */

const ink = "#241c1b";

export function catFace(fur: Fur, random: Random): string {
  const width = random.range(38, 46);
  const height = random.range(32, 38);
  const skull = ellipse(0, 0, width, height, fur.base);
  const eyeGap = random.range(15, 19);
  const iris = random.pick(["#8fae3c", "#c9a227", "#6f9fb8", "#b8792f", "#7aa05a"]);
  const eyesClosed = random.chance(0.08);
  const pupil = random.range(1.6, 5);
  const eyes = [-1, 1].map((side) =>
    eyesClosed
      ? stroke(d`M ${side * eyeGap - 7} -4 q 7 5 14 0`, ink, 2)
      : ellipse(side * eyeGap, -4, random.range(7, 9), random.range(6, 8.5), iris, { stroke: ink, "stroke-width": 1.2 }) +
        ellipse(side * eyeGap, -4, pupil, 6.5, ink) +
        ellipse(side * eyeGap + 2, -7, 1.6, 1.6, "#fff"),
  );
  const muzzle = fur.pattern === "bib" ? fur.light : fur.base;
  return [
    catEar(-1, width, height, fur, random),
    catEar(1, width, height, fur, random),
    skull,
    markings(fur, random, "head", skull, { x: 0, y: -height * 0.4, rx: width * 0.7, ry: height * 0.6 }),
    ellipse(-7, 14, 9, 7.5, muzzle) + ellipse(7, 14, 9, 7.5, muzzle),
    ...eyes,
    path(d`M -4.5 7 L 4.5 7 L 0 12 Z`, fur.nose),
    stroke("M0 12 q-1 6 -7 6 M0 12 q1 6 7 6", ink, 1.3),
    whiskers(random),
  ].join("");
}

function catEar(side: number, width: number, height: number, fur: Fur, random: Random): string {
  const lean = random.range(-5, 9);
  const tall = random.range(22, 34);
  const outer = side * (width * 0.86);
  const inner = side * (width * 0.16);
  const tipX = side * (width * 0.62 + lean);
  const tipY = -height - tall + 8;
  const shrink = (x: number, y: number): [number, number] => [x * 0.7 + tipX * 0.16 + (outer + inner) * 0.07, y * 0.72 - height * 0.2];
  const [ox, oy] = shrink(outer, -height * 0.35);
  const [ix, iy] = shrink(inner, -height * 0.85);
  return (
    path(
      d`M ${outer} ${-height * 0.3} Q ${outer + side * 3} ${tipY + tall * 0.4} ${tipX} ${tipY} Q ${inner + side * 8} ${tipY + tall * 0.3} ${inner} ${-height * 0.85} Z`,
      fur.base,
      {
        stroke: fur.dark,
        "stroke-width": 1,
      },
    ) + path(d`M ${ox} ${oy} L ${tipX * 0.97} ${tipY + 7} L ${ix} ${iy} Z`, fur.skin)
  );
}

function whiskers(random: Random): string {
  const color = random.chance(0.6) ? "#f6f2ea" : "#3b3332";
  const length = random.range(24, 36);
  const lines = [-1, 1].flatMap((side) =>
    [-5, 0, 5].map(
      (dy) =>
        d`M ${side * 11} ${13 + dy * 0.5} q ${side * length * 0.5} ${dy * 0.5 - 3} ${side * length} ${dy * 1.6 + random.range(-2, 2)}`,
    ),
  );
  return stroke(lines.join(" "), color, 0.9, { opacity: 0.85 });
}

export function dogFace(fur: Fur, random: Random): string {
  const width = random.range(31, 38);
  const height = random.range(34, 41);
  const skull = ellipse(0, -2, width, height, fur.base);
  const snout = random.range(17, 23);
  const drop = random.range(16, 22);
  const muzzle = fur.pattern === "plain" && random.chance(0.6) ? fur.base : fur.light;
  const eyes = [-1, 1].map(
    (side) =>
      ellipse(
        side * random.range(13.5, 16),
        -9,
        random.range(4.2, 6),
        random.range(4.2, 5.8),
        random.pick(["#2a1c14", "#3d2817", "#241c1b"]),
      ) +
      ellipse(side * 15 + 1.5, -11, 1.4, 1.4, "#fff") +
      stroke(d`M ${side * 9} -18 q ${side * 5} ${random.range(-5, -1)} ${side * 11} 1`, fur.dark, 1.8, { opacity: 0.7 }),
  );
  const ears = random.pick(["drop", "drop", "drop", "drop", "drop", "drop", "prick", "fold"] as const);
  const back = [-1, 1].map((side) => dogEar(ears, side, width, height, fur, random));
  return [
    ...(ears === "drop" ? [] : back),
    skull,
    markings(fur, random, "head", skull, { x: 0, y: -height * 0.35, rx: width * 0.8, ry: height * 0.6 }),
    ...(ears === "drop" ? back : []),
    ellipse(0, drop, snout, random.range(15, 19), muzzle, { stroke: fur.dark, "stroke-width": 0.8, "stroke-opacity": 0.5 }),
    ...eyes,
    random.chance(0.4) ? path(d`M -7 ${drop + 9} h 14 v ${random.range(8, 17)} a 7 7 0 0 1 -14 0 Z`, "#d8717c") : "",
    ellipse(0, drop - 7, random.range(7.5, 10), random.range(5.5, 7), random.chance(0.8) ? ink : fur.nose),
    ellipse(-2.5, drop - 9.5, 2, 1.2, "#fff", { opacity: 0.5 }),
    stroke(
      d`M 0 ${drop} v 6 M ${-snout * 0.6} ${drop + 6} q ${snout * 0.3} 6 ${snout * 0.6} 0 q ${snout * 0.3} 6 ${snout * 0.6} 0`,
      ink,
      1.5,
    ),
  ].join("");
}

function dogEar(kind: "drop" | "prick" | "fold", side: number, width: number, height: number, fur: Fur, random: Random): string {
  const color = random.chance(0.5) ? fur.dark : fur.base;
  const edge = { stroke: fur.dark, "stroke-width": 1 };
  if (kind === "drop") {
    const low = random.range(4, 28);
    const out = side * (width + random.range(6, 16));
    return path(
      d`M ${side * width * 0.55} ${-height * 0.86} Q ${out} ${-height * 0.95} ${out} ${low - 14} Q ${out} ${low + 8} ${side * width * 0.86} ${low} Q ${side * width * 0.8} ${-height * 0.2} ${side * width * 0.55} ${-height * 0.86} Z`,
      color,
      edge,
    );
  }
  const tipX = side * (width * 0.8 + random.range(-2, 8));
  const tipY = -height - random.range(20, 32);
  const ear = path(
    d`M ${side * width * 0.95} ${-height * 0.35} Q ${tipX + side * 6} ${tipY + 16} ${tipX} ${tipY} Q ${side * width * 0.35} ${tipY + 16} ${side * width * 0.3} ${-height * 0.85} Z`,
    fur.base,
    edge,
  );
  if (kind === "prick")
    return (
      ear +
      path(
        d`M ${side * width * 0.82} ${-height * 0.6} L ${tipX * 0.98} ${tipY + 9} L ${side * width * 0.5} ${-height * 0.85} Z`,
        fur.skin,
        {
          opacity: 0.7,
        },
      )
    );
  // The upper half hangs over to the outside.
  const foldY = (tipY - height * 0.85) / 2;
  return (
    ear +
    path(
      d`M ${side * width * 0.36} ${foldY - 4} L ${tipX + side * 12} ${foldY + random.range(4, 14)} L ${side * width * 1.02} ${foldY - 2} Q ${tipX} ${tipY + 2} ${side * width * 0.36} ${foldY - 4} Z`,
      fur.dark,
    )
  );
}

/** Seen from the side, looking to the right. */
export function catProfile(fur: Fur, random: Random): string {
  const skull = ellipse(0, 0, 31, 28, fur.base);
  const ear = (x: number, lean: number): string =>
    path(d`M ${x - 12} -18 L ${x + lean} ${random.range(-52, -44)} L ${x + 11} -20 Z`, fur.base, {
      stroke: fur.dark,
      "stroke-width": 1,
    }) + path(d`M ${x - 6} -22 L ${x + lean} -42 L ${x + 6} -23 Z`, fur.skin);
  return [
    ear(-10, -5),
    ear(12, 3),
    skull,
    markings(fur, random, "head", skull, { x: -4, y: -8, rx: 22, ry: 20 }),
    ellipse(22, 11, random.range(11, 14), 9.5, fur.pattern === "bib" ? fur.light : fur.base),
    ellipse(13, -4, 5.5, 6.5, random.pick(["#8fae3c", "#c9a227", "#6f9fb8"]), { stroke: ink, "stroke-width": 1 }),
    ellipse(14.5, -4, 1.8, 5.5, ink),
    path("M31 5 l6 1 l-4 5 Z", fur.nose),
    stroke("M32 12 q-4 6 -11 4", ink, 1.3),
    stroke("M25 12 q14 -3 26 -6 M25 14 q14 1 27 2 M24 16 q12 4 22 9", random.chance(0.6) ? "#f6f2ea" : "#3b3332", 0.9),
  ].join("");
}

export function dogProfile(fur: Fur, random: Random): string {
  const length = random.range(44, 60);
  const skull = ellipse(0, -2, 29, 27, fur.base);
  const upright = random.chance(0.15);
  const ear = upright
    ? path(d`M -18 -18 L ${random.range(-16, -6)} ${random.range(-54, -44)} L 4 -24 Z`, fur.dark)
    : group(
        `rotate(${Math.round(random.range(-6, 22))} -8 -16)`,
        ellipse(-12, random.range(2, 10), random.range(9, 13), random.range(20, 28), fur.dark),
      );
  const muzzle = fur.pattern === "plain" ? fur.base : fur.light;
  return [
    upright ? ear : "",
    skull,
    path(d`M 12 -12 Q ${length * 0.7} -10 ${length} -4 Q ${length + 7} 6 ${length - 4} 13 Q ${length * 0.5} 22 8 22 Z`, muzzle),
    markings(fur, random, "head", skull, { x: -4, y: -8, rx: 22, ry: 20 }),
    random.chance(0.4) ? path(d`M ${length - 18} 14 q 2 20 9 19 q 7 -2 3 -20 Z`, "#d8717c") : "",
    stroke(d`M ${length - 6} 12 Q ${length * 0.6} 17 22 13`, ink, 1.5),
    ellipse(length, -3, 7, 5.5, ink),
    ellipse(13, -9, 4.4, 4.6, "#2a1c14"),
    ellipse(14.5, -10.5, 1.3, 1.3, "#fff"),
    upright ? "" : ear,
  ].join("");
}
