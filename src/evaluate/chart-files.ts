import { join } from "node:path";
import type { Chart } from "../charts/chart.ts";
import { chartSvg } from "../charts/svg.ts";
import { writeFileAtomic } from "../files.ts";
import { renderSvg } from "../image/render.ts";

/** PNGs are drawn at two pixels per unit, so that they stay sharp on the screens of today. */
const pngScale = 2;

/** Writes NAME.svg and NAME.png, and returns their names. */
export async function writeChart(dir: string, name: string, chart: Chart): Promise<string[]> {
  const svg = chartSvg(chart);
  await writeFileAtomic(join(dir, `${name}.svg`), svg);
  await writeFileAtomic(join(dir, `${name}.png`), await renderSvg(svg, { format: "png", scale: pngScale }));
  return [`${name}.png`, `${name}.svg`];
}
