import type { LineSeriesOption } from "echarts";
import { axisStyle, barOutline, baseOption, ink, palette, type Chart } from "./chart.ts";

export interface HistogramSeries {
  readonly name: string;
  /** One count per bin; series of different totals are compared as shares. */
  readonly counts: readonly number[];
}

export interface HistogramOptions {
  readonly title: string;
  readonly subtitle?: string;
  /** Name of the value axis, with its unit. */
  readonly valueName: string;
  /** Bin borders, rising, one more than counts. */
  readonly edges: readonly number[];
  readonly series: readonly HistogramSeries[];
}

/** One or more distributions of the same value on one axis, as the percentage of each one's total. */
export function histogram({ title, subtitle, valueName, edges, series }: HistogramOptions): Chart {
  return {
    width: 640,
    height: 360,
    option: {
      ...baseOption(title, subtitle),
      ...(series.length > 1
        ? { legend: { right: 20, top: 14, icon: "rect", itemHeight: 10, itemGap: 20, textStyle: { color: ink, fontSize: 12 } } }
        : {}),
      grid: { left: 70, top: 74, right: 28, bottom: 54 },
      xAxis: { type: "value", name: valueName, nameGap: 28, min: edges[0] ?? 0, max: edges.at(-1) ?? 1, ...axisStyle(false) },
      yAxis: { type: "value", name: "share of images (%)", nameGap: 40, min: 0, ...axisStyle() },
      series: series.map(({ name, counts }, k): LineSeriesOption => {
        const total = counts.reduce((sum, n) => sum + n, 0);
        const color = palette[k % palette.length] as string;
        return {
          type: "line",
          name,
          data: barOutline(
            edges,
            counts.map((n) => (total === 0 ? 0 : (100 * n) / total)),
          ).map((point) => [...point]),
          symbol: "none",
          itemStyle: { color },
          lineStyle: { color, width: 1.2 },
          areaStyle: { color, opacity: series.length > 1 ? 0.35 : 0.6 },
        };
      }),
    },
  };
}
