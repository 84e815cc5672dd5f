import { BarChart, HeatmapChart, LineChart } from "echarts/charts";
import {
  GridComponent,
  LegendComponent,
  MarkLineComponent,
  MarkPointComponent,
  TitleComponent,
  VisualMapComponent,
} from "echarts/components";
import { init, use } from "echarts/core";
import { SVGRenderer } from "echarts/renderers";
import type { Chart } from "./chart.ts";
import { withPlainTexts } from "./plain-text.ts";

/** The parts of ECharts that our options use: a page registers the same ones, with the renderer that it prefers. */
function registerParts(): void {
  use([
    BarChart,
    HeatmapChart,
    LineChart,
    GridComponent,
    LegendComponent,
    MarkLineComponent,
    MarkPointComponent,
    TitleComponent,
    VisualMapComponent,
    SVGRenderer,
  ]);
}

/** Draws a chart as an SVG document on a white ground; needs no DOM. The same chart gives the same text. */
export function chartSvg(chart: Chart): string {
  registerParts();
  const instance = init(null, null, { renderer: "svg", ssr: true, width: chart.width, height: chart.height });
  try {
    instance.setOption({ backgroundColor: "#ffffff", ...withPlainTexts(chart.option) });
    // Ids and hover styles contain counters of the whole process; a file needs neither.
    return instance
      .renderToSVGString()
      .replace(/<style\b(?:(?!<style\b)[\s\S])*?<\/style>\s*/g, "")
      .replace(/ class="zr\d+-cls-\d+"/g, "")
      .replace(/(id="|url\(#)zr\d+-/g, "$1chart-");
  } finally {
    instance.dispose();
  }
}
