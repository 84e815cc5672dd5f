import type { Random } from "./random.ts";
import { d, element, ellipse, group, path, rect, stroke } from "./svg.ts";

/** What is behind and in front of the animal, in a picture of `width` x `height` units. */
export interface Scene {
  readonly definitions: string;
  readonly back: string;
  readonly front: string;
}

const walls = ["#c9b8a3", "#a9b7bd", "#b9a9b5", "#8f9d8c", "#d3cdbf", "#7d8794", "#b78f74", "#6d6660", "#c3c9a5"] as const;
const floors = ["#8a6a4c", "#6f5a47", "#a58d6f", "#77797d", "#4f5450", "#b59a86"] as const;
const things = ["#a8443c", "#3f6ea3", "#4b8a57", "#c9a13b", "#7b5a94", "#d07f4a", "#5b5f66", "#e0d8cb"] as const;

export function drawScene(width: number, height: number, horizon: number, random: Random): Scene {
  const kind = random.pick(["room", "room", "garden", "plain", "sofa", "pattern"] as const);
  const back = [ground(kind, width, height, horizon, random)];
  const count = Math.floor(random.range(0, 3));
  for (let i = 0; i < count; i++) back.push(clutter(width, height, horizon, random));
  return {
    definitions: light(random),
    back: back.join(""),
    front: (random.chance(0.1) ? occluder(width, height, random) : "") + rect(0, 0, width, height, "url(#light)"),
  };
}

function ground(
  kind: "room" | "garden" | "plain" | "sofa" | "pattern",
  width: number,
  height: number,
  horizon: number,
  random: Random,
): string {
  if (kind === "garden") {
    const sky = random.pick(["#a9cbe0", "#c6d6dc", "#dfe3df", "#8fb4d1"] as const);
    const grass = random.pick(["#6f9150", "#5c7f45", "#87a05a", "#9b9a5c"] as const);
    const blades = Array.from(
      { length: 40 },
      () => d`M ${random.range(0, width)} ${random.range(horizon, height)} l ${random.range(-3, 3)} ${-random.range(4, 10)}`,
    ).join(" ");
    const bush = ellipse(
      random.range(0, width),
      horizon,
      random.range(30, 80),
      random.range(14, 46),
      random.pick(["#4f7042", "#5f7d52", "#3f5f3f"] as const),
    );
    return (
      rect(0, 0, width, height, sky) +
      bush +
      rect(0, horizon, width, height - horizon, grass) +
      stroke(blades, "#3f5f33", 1, { opacity: 0.5 })
    );
  }
  const wall = rect(0, 0, width, height, random.pick(walls));
  if (kind === "plain") return wall;
  const floor = rect(0, horizon, width, height - horizon, random.pick(floors));
  if (kind === "sofa") {
    const color = random.pick(things);
    return (
      wall +
      floor +
      rect(width * 0.02, horizon - height * 0.35, width * 0.96, height * 0.5, color, { rx: 14, opacity: 0.9 }) +
      rect(0, horizon, width, height * 0.25, color, { rx: 8 })
    );
  }
  if (kind === "pattern") {
    const step = random.range(12, 30);
    const lines = Array.from({ length: Math.ceil(width / step) + 1 }, (_, i) => d`M ${i * step} 0 v ${horizon}`).join(" ");
    return wall + stroke(lines, random.pick(walls), step * random.range(0.2, 0.5)) + floor;
  }
  const window = random.chance(0.4)
    ? rect(random.range(0, width * 0.7), random.range(4, horizon * 0.3), width * 0.26, horizon * 0.45, "#dfe9ec", {
        stroke: "#f5f2ea",
        "stroke-width": 4,
      })
    : "";
  return wall + window + floor;
}

function clutter(width: number, height: number, horizon: number, random: Random): string {
  const color = random.pick(things);
  const x = random.range(0, width);
  const y = random.range(horizon * 0.8, height);
  const size = random.range(8, 30);
  switch (random.pick(["ball", "box", "plant", "bowl", "cushion", "lamp"] as const)) {
    case "ball":
      return (
        ellipse(x, y, size * 0.6, size * 0.6, color) +
        ellipse(x - size * 0.2, y - size * 0.2, size * 0.15, size * 0.15, "#fff", { opacity: 0.6 })
      );
    case "box":
      return (
        rect(x - size, y - size, size * 2, size * 1.3, color) + rect(x - size, y - size, size * 2, size * 0.25, "#000", { opacity: 0.15 })
      );
    case "plant":
      return leaves(x, y, size * 1.3, random) + rect(x - size * 0.4, y - 2, size * 0.8, size * 0.7, color);
    case "bowl":
      return path(d`M ${x - size} ${y} h ${size * 2} l ${-size * 0.3} ${size * 0.5} h ${-size * 1.4} Z`, color);
    case "cushion":
      return rect(x - size, y - size, size * 2, size * 1.5, color, {
        rx: size * 0.4,
        transform: `rotate(${Math.round(random.range(-30, 30))} ${Math.round(x)} ${Math.round(y)})`,
      });
    default:
      // Pointed at the top like an ear, so that a triangle alone does not make a cat.
      return (
        stroke(d`M ${x} ${y} v ${-size * 1.8}`, "#5b5147", 3) +
        path(d`M ${x} ${y - size * 2.8} L ${x + size * 0.7} ${y - size * 1.7} h ${-size * 1.4} Z`, color)
      );
  }
}

function leaves(x: number, y: number, size: number, random: Random): string {
  return Array.from({ length: 6 }, (_, i) =>
    group(
      `rotate(${Math.round(-60 + i * 24 + random.range(-8, 8))} ${Math.round(x)} ${Math.round(y)})`,
      ellipse(x, y - size * 0.6, size * 0.14, size * 0.6, random.pick(["#3f6b3f", "#5b8a4a", "#4a7a55"] as const)),
    ),
  ).join("");
}

/** Something between the camera and the animal that hides a part of it. */
function occluder(width: number, height: number, random: Random): string {
  const color = random.pick(things);
  switch (random.pick(["bars", "box", "leaf", "blanket"] as const)) {
    case "bars": {
      const step = random.range(22, 40);
      return stroke(Array.from({ length: 12 }, (_, i) => d`M ${i * step - 5} 0 v ${height}`).join(" "), color, random.range(3, 5));
    }
    case "box":
      return rect(random.range(-width * 0.2, width * 0.6), height * random.range(0.7, 0.82), width * 0.6, height * 0.4, color);
    case "leaf":
      return leaves(
        random.chance(0.5) ? width * 0.05 : width * 0.95,
        height * random.range(0.6, 1),
        height * random.range(0.3, 0.45),
        random,
      );
    default:
      return path(
        d`M 0 ${height} V ${height * 0.8} Q ${width * 0.3} ${height * random.range(0.6, 0.8)} ${width * 0.6} ${height * 0.85} T ${width} ${height * 0.8} V ${height} Z`,
        color,
      );
  }
}

/** Light from one side, shade from the other. */
function light(random: Random): string {
  const angle = random.range(0, 2 * Math.PI);
  const [x, y] = [Math.cos(angle) / 2, Math.sin(angle) / 2];
  const stop = (offset: number, color: string, opacity: number): string =>
    element("stop", { offset: String(offset), "stop-color": color, "stop-opacity": opacity.toFixed(2) });
  const ends = { x1: (0.5 - x).toFixed(2), y1: (0.5 - y).toFixed(2), x2: (0.5 + x).toFixed(2), y2: (0.5 + y).toFixed(2) };
  return element(
    "linearGradient",
    { id: "light", ...ends },
    stop(0, random.pick(["#fff6df", "#ffffff", "#ffe9c4"]), random.range(0, 0.3)) + stop(1, "#0d1020", random.range(0.05, 0.45)),
  );
}
