import { rm } from "node:fs/promises";
import { join } from "node:path";
import type { Chart } from "../charts/chart.ts";
import { ChartThread } from "../charts/chart-thread.ts";
import { writeFileAtomic } from "../files.ts";
import { renderSvg } from "../image/render.ts";

/** PNGs are drawn at two pixels per unit, so that they stay sharp on the screens of today. */
const pngScale = 2;

/**
 * Writes NAME.svg and NAME.png of each chart, and returns the names of the files; what an earlier call left of a chart that is undefined is
 * removed. Throws the signal's reason between two files, and while it draws.
 */
export async function writeCharts(
  dir: string,
  charts: Readonly<Record<string, Chart | undefined>>,
  signal?: AbortSignal,
): Promise<string[]> {
  const written: string[] = [];
  const thread = new ChartThread();
  try {
    for (const [name, chart] of Object.entries(charts)) {
      const [svgPath, pngPath] = [join(dir, `${name}.svg`), join(dir, `${name}.png`)];
      if (chart === undefined) {
        for (const path of [svgPath, pngPath]) await rm(path, { force: true });
        continue;
      }
      const svg = await thread.svg(chart, signal);
      await writeFileAtomic(svgPath, svg);
      await writeFileAtomic(pngPath, await renderSvg(svg, { format: "png", scale: pngScale }));
      written.push(`${name}.png`, `${name}.svg`);
    }
  } finally {
    thread.close();
  }
  return written;
}
