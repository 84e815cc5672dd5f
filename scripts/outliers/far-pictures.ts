import sharp from "sharp";
import { drawSampleImage } from "../../src/data/sources/sample.ts";
import { renderSvg } from "../../src/image/render.ts";
import { Random } from "../../src/random.ts";

/** Pictures that show nothing of what a classifier of photographs was taught, by kind. Each is a function of its kind, index and seed. */
export const farKinds: Readonly<Record<string, FarPicture>> = {
  documents: drawn(documentPage),
  screenshots: drawn(screenshot),
  textures: drawn(texture),
  noise,
  "drawn scenes": drawn(scene),
};

/** Pictures that are near what was taught: reported, without a limit. */
export const nearKinds: Readonly<Record<string, FarPicture>> = {
  "drawn cats": async (_random, index) => await drawSampleImage("cat", index),
  "drawn dogs": async (_random, index) => await drawSampleImage("dog", index),
};

type FarPicture = (random: Random, index: number) => Promise<Uint8Array>;

const [width, height] = [480, 360];
const words = (
  "the of and order number total amount date name street city account report table page section figure result value item price tax " +
  "delivery customer meeting project status please review change line error file user data model server time open close save"
).split(" ");
const fonts = ["DejaVu Sans", "DejaVu Serif", "DejaVu Sans Mono", "sans-serif", "serif"] as const;

const between = (random: Random, low: number, high: number): number => low + (high - low) * random.uniform();
const pick = <T>(random: Random, items: readonly T[]): T => items[random.below(items.length)] as T;
const hsl = (h: number, s: number, l: number): string => `hsl(${Math.round(h)},${Math.round(s)}%,${Math.round(l)}%)`;
const rect = (x: number, y: number, w: number, h: number, fill: string, more = ""): string =>
  `<rect x="${x}" y="${y}" width="${w}" height="${h}" fill="${fill}" ${more}/>`;
const text = (x: number, y: number, size: number, fill: string, font: string, content: string): string =>
  `<text x="${x}" y="${y}" font-size="${size}" fill="${fill}" font-family="${font}">${content}</text>`;

function drawn(draw: (random: Random) => string): FarPicture {
  return async (random) => {
    const svg = `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}">${draw(random)}</svg>`;
    return await renderSvg(svg, { format: "jpeg", quality: Math.round(between(random, 60, 95)) });
  };
}

function sentence(random: Random, length: number): string {
  let line = "";
  while (line.length < length) line += `${pick(random, words)}${random.uniform() < 0.1 ? ` ${random.below(10_000)}` : ""} `;
  return line.slice(0, length);
}

/** Letters, invoices and forms; some photographed: grey paper, a little turned, with a shadow. */
function documentPage(random: Random): string {
  const paper = hsl(between(random, 30, 60), between(random, 0, 20), between(random, 82, 100));
  const ink = hsl(between(random, 200, 260), between(random, 0, 30), between(random, 5, 30));
  const font = pick(random, fonts);
  const size = between(random, 7, 16);
  const margin = between(random, 10, 50);
  const columns = random.uniform() < 0.25 ? 2 : 1;
  const columnWidth = (width - 2 * margin) / columns;
  const perLine = Math.floor(columnWidth / (size * 0.62));
  const parts: string[] = [rect(-200, -200, 900, 800, paper)];
  let y = margin + size;
  if (random.uniform() < 0.7) {
    parts.push(text(margin, y + size, size * 1.9, ink, font, sentence(random, perLine / 2)));
    y += size * 3.5;
  }
  while (y < height - margin) {
    const kind = random.uniform();
    if (kind < 0.1) {
      parts.push(...table(random, margin, y, width - 2 * margin, size, ink, font));
      y += size * 9;
    } else if (kind < 0.16) y += size * 1.5;
    else {
      for (let c = 0; c < columns; c++) {
        const length = Math.max(3, perLine - 1 - (random.uniform() < 0.2 ? random.below(perLine) : random.below(4)));
        parts.push(text(margin + c * columnWidth, y, size, ink, font, sentence(random, length)));
      }
      y += size * 1.45;
    }
  }
  const turned = random.uniform() < 0.5 ? between(random, -8, 8) : 0;
  const shadow = random.uniform() < 0.5 ? fade(random) : "";
  const desk = hsl(between(random, 20, 40), 30, between(random, 20, 60));
  return `${rect(0, 0, width, height, desk)}<g transform="rotate(${turned} ${width / 2} ${height / 2})">${parts.join("")}</g>${shadow}`;
}

function fade(random: Random): string {
  const [x, y] = [random.uniform(), random.uniform()];
  const stops = `<stop offset="0" stop-color="#000" stop-opacity="0"/><stop offset="1" stop-color="#000" stop-opacity="${between(random, 0.1, 0.5)}"/>`;
  return `<defs><linearGradient id="f" x1="${x}" y1="${y}" x2="${1 - x}" y2="${1 - y}">${stops}</linearGradient></defs>${rect(0, 0, width, height, "url(#f)")}`;
}

function table(random: Random, x: number, y: number, w: number, size: number, ink: string, font: string): string[] {
  const columns = 2 + random.below(4);
  const parts: string[] = [];
  for (let row = 0; row < 5; row++) {
    for (let c = 0; c < columns; c++) {
      const [left, top] = [x + (c * w) / columns, y + row * size * 1.6];
      parts.push(rect(left, top, w / columns, size * 1.6, "none", `stroke="${ink}" stroke-width="0.7"`));
      parts.push(
        text(left + 3, top + size * 1.2, size * 0.9, ink, font, c === 0 ? pick(random, words) : String(random.below(100_000) / 100)),
      );
    }
  }
  return parts;
}

/** Windows of programs: an editor, a page, a chat, a dashboard. */
function screenshot(random: Random): string {
  const dark = random.uniform() < 0.5;
  const hue = between(random, 0, 360);
  const [back, panel, ink] = dark
    ? [hsl(hue, 12, 12), hsl(hue, 12, 20), hsl(hue, 8, 85)]
    : [hsl(hue, 10, 97), hsl(hue, 12, 90), hsl(hue, 15, 20)];
  const accent = hsl(hue + 40, 70, 50);
  const draw = pick(random, [editor, chat, dashboard, webPage]);
  const bar = 18 + random.below(16);
  const side = random.uniform() < 0.6 ? 50 + random.below(90) : 0;
  const dots = ["#f55", "#fb3", "#4c4"].map((fill, k) => `<circle cx="${12 + 14 * k}" cy="${bar / 2}" r="4" fill="${fill}"/>`).join("");
  const menu = Array.from({ length: side > 0 ? 9 : 0 }, (_, k) =>
    text(8, bar + 22 + k * 22, 10, ink, "sans-serif", pick(random, words)),
  ).join("");
  return (
    rect(0, 0, width, height, back) +
    rect(0, 0, width, bar, panel) +
    dots +
    rect(0, bar, side, height, panel) +
    menu +
    draw(random, side + 8, bar + 8, { ink, panel, accent })
  );
}

interface Theme {
  readonly ink: string;
  readonly panel: string;
  readonly accent: string;
}

function editor(random: Random, x: number, y: number, { ink }: Theme): string {
  const size = 8 + random.below(6);
  const lines: string[] = [];
  for (let k = 0, top = y + size; top < height - 4; k++, top += size * 1.4) {
    const indent = 10 * random.below(5);
    lines.push(text(x, top, size, ink, "DejaVu Sans Mono", String(k + 1)));
    const colours = [ink, "#e67", "#7ad", "#8b5", "#c9a"];
    let left = x + 24 + indent;
    for (let w = random.below(6); w > 0; w--) {
      const word = pick(random, words) + pick(random, ["(", ")", " =", ";", ".", ""]);
      lines.push(text(left, top, size, pick(random, colours), "DejaVu Sans Mono", word));
      left += (word.length + 1) * size * 0.61;
    }
  }
  return lines.join("");
}

function chat(random: Random, x: number, y: number, { ink, panel, accent }: Theme): string {
  const parts: string[] = [];
  for (let top = y; top < height - 30;) {
    const own = random.uniform() < 0.5;
    const w = 90 + random.below(170);
    const h = 22 + 14 * random.below(3);
    const left = own ? width - w - 12 : x + 24;
    if (!own) parts.push(`<circle cx="${x + 9}" cy="${top + 11}" r="9" fill="${accent}"/>`);
    parts.push(rect(left, top, w, h, own ? accent : panel, 'rx="9"'));
    for (let line = 14; line < h; line += 14) parts.push(text(left + 8, top + line, 10, ink, "sans-serif", sentence(random, w / 7)));
    top += h + 8 + random.below(12);
  }
  return parts.join("");
}

function dashboard(random: Random, x: number, y: number, { ink, panel, accent }: Theme): string {
  const [columns, rows] = [1 + random.below(3), 1 + random.below(3)];
  const [w, h] = [(width - x - 8) / columns, (height - y - 4) / rows];
  const tiles: string[] = [];
  for (let k = 0; k < columns * rows; k++) {
    const [left, top] = [x + (k % columns) * w, y + Math.floor(k / columns) * h];
    tiles.push(rect(left, top, w - 8, h - 8, panel, 'rx="4"'), text(left + 6, top + 13, 9, ink, "sans-serif", pick(random, words)));
    const values = Array.from({ length: 24 }, () => random.uniform());
    const [pw, ph] = [w - 24, h - 40];
    if (random.uniform() < 0.5) {
      const points = values.map((v, i) => `${left + 8 + (i * pw) / 23},${top + 22 + v * ph}`).join(" ");
      tiles.push(`<polyline points="${points}" fill="none" stroke="${accent}" stroke-width="1.6"/>`);
    } else
      for (const [i, v] of values.entries()) tiles.push(rect(left + 8 + (i * pw) / 24, top + 22 + (1 - v) * ph, pw / 30, v * ph, accent));
  }
  return tiles.join("");
}

function webPage(random: Random, x: number, y: number, { ink, panel, accent }: Theme): string {
  const parts = [rect(x, y, width - x - 8, 60, accent), text(x + 14, y + 36, 20, "#fff", "sans-serif", sentence(random, 22))];
  for (let top = y + 76; top < height; top += 84) {
    parts.push(rect(x, top, 90, 68, panel), text(x + 100, top + 14, 13, ink, "sans-serif", sentence(random, 26)));
    for (let k = 0; k < 3; k++) parts.push(text(x + 100, top + 30 + k * 13, 9, ink, "sans-serif", sentence(random, 44)));
  }
  return parts.join("");
}

/** Surfaces: stripes, checks, bricks, dots, cloth, and turbulence like stone, wood or clouds. */
function texture(random: Random): string {
  const hue = between(random, 0, 360);
  const [one, other] = [
    hsl(hue, between(random, 5, 70), between(random, 20, 70)),
    hsl(hue + between(random, -40, 40), between(random, 5, 70), between(random, 30, 90)),
  ];
  const kind = random.below(6);
  const size = between(random, 8, 60);
  if (kind < 3) {
    // Not above 0.2: it would be white noise.
    const [fx, fy] = [10 ** between(random, -2.5, -0.7), 10 ** between(random, -2.5, -0.7)];
    const type = pick(random, ["turbulence", "fractalNoise"]);
    const colours = `<feColorMatrix values="${Array.from({ length: 20 }, (_, k) => (k > 14 ? (k === 19 ? 1 : 0) : between(random, -0.4, 0.9).toFixed(2))).join(" ")}"/>`;
    const noise = `<feTurbulence type="${type}" baseFrequency="${fx} ${fy}" numOctaves="${1 + random.below(6)}" seed="${random.below(9999)}"/>`;
    return `${rect(0, 0, width, height, one)}<filter id="t" x="0" y="0" width="1" height="1">${noise}${colours}</filter><rect width="100%" height="100%" filter="url(#t)"/>`;
  }
  const shapes = {
    3: rect(0, 0, size / 2, size, other),
    4: rect(0, 0, size / 2, size / 2, other) + rect(size / 2, size / 2, size / 2, size / 2, other),
    5:
      random.uniform() < 0.5
        ? `<circle cx="${size / 2}" cy="${size / 2}" r="${size * between(random, 0.1, 0.5)}" fill="${other}"/>`
        : rect(1, 1, size - 2, size / 2 - 2, other) +
          rect(1 - size / 2, size / 2, size - 2, size / 2 - 2, other) +
          rect(1 + size / 2, size / 2, size - 2, size / 2 - 2, other),
  }[kind];
  const turn = `patternTransform="rotate(${between(random, 0, 180)})"`;
  return `<defs><pattern id="p" width="${size}" height="${size}" patternUnits="userSpaceOnUse" ${turn}>${rect(0, 0, size, size, one)}${shapes}</pattern></defs>${rect(0, 0, width, height, "url(#p)")}${random.uniform() < 0.5 ? fade(random) : ""}`;
}

/** Noise of a lens cap and of a broken sensor, at several grains; plain colours and gradients. */
async function noise(random: Random): Promise<Uint8Array> {
  const kind = random.below(4);
  if (kind === 0) {
    const stops = [0, 1].map(
      (offset) =>
        `<stop offset="${offset}" stop-color="${hsl(between(random, 0, 360), between(random, 0, 90), between(random, 0, 100))}"/>`,
    );
    const plain = random.uniform() < 0.4 ? stops[0] : stops.join("");
    const gradient = `<defs><linearGradient id="g" x2="${random.uniform()}" y2="1">${plain}</linearGradient></defs>${rect(0, 0, width, height, "url(#g)")}`;
    return await drawn(() => gradient)(random, 0);
  }
  const grain = 2 ** random.below(6);
  const [w, h] = [Math.ceil(width / grain), Math.ceil(height / grain)];
  const grey = random.uniform() < 0.3;
  const [mean, spread] = [between(random, 20, 235), between(random, 8, 90)];
  const value = (): number => {
    if (kind === 1) return random.below(256);
    return kind === 2 ? mean + spread * random.normal() : random.uniform() < 0.5 ? 0 : 255;
  };
  const pixels = new Uint8ClampedArray(w * h * 3);
  for (let i = 0; i < w * h; i++) {
    const first = value();
    for (let c = 0; c < 3; c++) pixels[i * 3 + c] = grey ? first : c === 0 ? first : value();
  }
  const kernel = random.uniform() < 0.5 ? "nearest" : "cubic";
  return await sharp(pixels, { raw: { width: w, height: h, channels: 3 } })
    .resize(width, height, { kernel, fit: "fill" })
    .jpeg({ quality: 90 })
    .toBuffer();
}

/** A landscape or a street with sun, hills, trees, houses and cars: no animals. */
function scene(random: Random): string {
  const horizon = height * between(random, 0.4, 0.7);
  const sky = hsl(between(random, 190, 230), between(random, 30, 80), between(random, 55, 90));
  const ground = hsl(between(random, 20, 130), between(random, 15, 60), between(random, 25, 60));
  const parts = [
    rect(0, 0, width, height, sky),
    `<circle cx="${between(random, 0, width)}" cy="${between(random, 20, 120)}" r="${between(random, 14, 36)}" fill="#fd6"/>`,
  ];
  for (let k = random.below(4); k > 0; k--) {
    const [x, w, h] = [between(random, -60, width), between(random, 120, 320), between(random, 40, 180)];
    parts.push(
      `<path d="M${x} ${horizon} L${x + w / 2} ${horizon - h} L${x + w} ${horizon} Z" fill="${hsl(between(random, 100, 240), 25, between(random, 25, 60))}"/>`,
    );
  }
  for (let k = random.below(4); k > 0; k--) {
    const [x, y] = [between(random, 0, width), between(random, 20, horizon * 0.6)];
    for (let c = 0; c < 4; c++)
      parts.push(`<ellipse cx="${x + 16 * c}" cy="${y + between(random, -6, 6)}" rx="18" ry="12" fill="#fff" opacity="0.85"/>`);
  }
  parts.push(rect(0, horizon, width, height, ground));
  const things = [house, house, tree, tree, car, flower];
  const places = Array.from({ length: 2 + random.below(7) }, () => between(random, horizon, height - 20)).sort((a, b) => a - b);
  for (const y of places)
    parts.push(pick(random, things)(random, between(random, 0, width), y, 0.4 + (0.9 * (y - horizon)) / (height - horizon)));
  if (random.uniform() < 0.3) parts.push(fade(random));
  return parts.join("");
}

function house(random: Random, x: number, y: number, scale: number): string {
  const [w, h] = [between(random, 60, 130), between(random, 50, 110)];
  const [wall, roof] = [hsl(between(random, 0, 60), 40, between(random, 50, 85)), hsl(between(random, 0, 30), 50, between(random, 25, 45))];
  const windows = [0.15, 0.62].map((at) => rect(w * at, -h * 0.75, w * 0.22, h * 0.25, "#bdf", 'stroke="#333"')).join("");
  return `<g transform="translate(${x} ${y}) scale(${scale})">${rect(0, -h, w, h, wall)}<path d="M-8 ${-h} L${w / 2} ${-h * 1.6} L${w + 8} ${-h} Z" fill="${roof}"/>${windows}${rect(w * 0.4, -h * 0.4, w * 0.2, h * 0.4, "#643")}</g>`;
}

function tree(random: Random, x: number, y: number, scale: number): string {
  const leaf = hsl(between(random, 70, 150), 45, between(random, 20, 45));
  const crown =
    random.uniform() < 0.5
      ? `<path d="M-30 -30 L0 -140 L30 -30 Z" fill="${leaf}"/>`
      : `<circle cy="-80" r="38" fill="${leaf}"/><circle cx="-22" cy="-60" r="24" fill="${leaf}"/>`;
  return `<g transform="translate(${x} ${y}) scale(${scale})">${rect(-6, -50, 12, 50, "#653")}${crown}</g>`;
}

function car(random: Random, x: number, y: number, scale: number): string {
  const paint = hsl(between(random, 0, 360), 70, between(random, 30, 60));
  const wheels = [25, 95]
    .map((cx) => `<circle cx="${cx}" cy="0" r="12" fill="#222"/><circle cx="${cx}" cy="0" r="5" fill="#999"/>`)
    .join("");
  return `<g transform="translate(${x} ${y}) scale(${scale})">${rect(0, -30, 120, 28, paint, 'rx="8"')}<path d="M22 -30 L38 -54 L84 -54 L100 -30 Z" fill="${paint}"/>${rect(42, -50, 38, 18, "#cef")}${wheels}</g>`;
}

function flower(random: Random, x: number, y: number, scale: number): string {
  const petal = hsl(between(random, 0, 360), 80, 60);
  const petals = [0, 72, 144, 216, 288]
    .map((turn) => `<ellipse cy="-14" rx="8" ry="14" fill="${petal}" transform="translate(0 -60) rotate(${turn})"/>`)
    .join("");
  return `<g transform="translate(${x} ${y}) scale(${scale})">${rect(-2, -60, 4, 60, "#383")}${petals}<circle cy="-60" r="8" fill="#fc3"/></g>`;
}
