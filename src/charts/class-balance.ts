import type { BarSeriesOption } from "echarts";
import { axisStyle, baseOption, ink, palette, percent, thousands, type Chart } from "./chart.ts";

export interface ClassBalanceSeries {
  /** `train`, `val`, `test`, or one series for the whole set. */
  readonly name: string;
  /** Images by class, in the order of the labels. */
  readonly counts: readonly number[];
}

/** Images by class as horizontal bars, the splits stacked, with each class's total and share at the end. */
export function classBalance(labels: readonly string[], series: readonly ClassBalanceSeries[]): Chart {
  const totals = labels.map((_, k) => series.reduce((sum, item) => sum + (item.counts[k] ?? 0), 0));
  const all = totals.reduce((sum, n) => sum + n, 0);
  const longest = Math.max(...labels.map((label) => label.length));
  return {
    width: 640,
    height: 130 + 34 * labels.length,
    option: {
      ...baseOption("Images by class", `${thousands(all)} images, ${labels.length} classes`),
      ...(series.length > 1
        ? { legend: { right: 20, top: 14, icon: "rect", itemHeight: 10, itemGap: 20, textStyle: { color: ink, fontSize: 12 } } }
        : {}),
      grid: { left: 30 + Math.min(170, 8 * longest), top: 66, right: 130, bottom: 54 },
      xAxis: { type: "value", name: "images", nameGap: 28, min: 0, minInterval: 1, ...axisStyle() },
      yAxis: {
        type: "category",
        data: [...labels],
        inverse: true,
        ...axisStyle(false),
        axisTick: { show: false },
        axisLabel: { color: ink, fontSize: 12, interval: 0, width: 170, overflow: "truncate" },
      },
      series: series.map((item, s): BarSeriesOption => ({
        type: "bar",
        name: item.name,
        stack: "all",
        barWidth: 20,
        data: labels.map((_, k) => ({
          value: item.counts[k] ?? 0,
          ...(s === series.length - 1
            ? {
                label: {
                  show: true,
                  position: "right",
                  color: ink,
                  fontSize: 11,
                  formatter: `${thousands(totals[k] as number)}  (${percent(all === 0 ? 0 : (totals[k] as number) / all)})`,
                },
              }
            : {}),
        })),
        itemStyle: { color: palette[s % palette.length] as string },
      })),
    },
  };
}
