import type { LineSeriesOption } from "echarts";
import { thousands } from "../text.ts";
import { axisStyle, baseOption, chanceInk, fontFamily, ink, palette, type Chart } from "./chart.ts";

export interface RateRangePoint {
  readonly learningRate: number;
  readonly loss: number;
  readonly smoothed: number;
}

/** Loss by learning rate, on a logarithmic axis, with the suggested rate and the one at which the loss is lowest. */
export function rateRange(points: readonly RateRangePoint[], suggestion: number | null, lowest: number): Chart {
  const values = points.map(({ smoothed }) => smoothed);
  const [low, start] = [Math.min(...values, ...points.map(({ loss }) => loss)), values[0] ?? 1];
  // Where training diverges the curve leaves the picture: what comes before it is what counts.
  const top = Math.min(Math.max(...values), start + Math.max(start - low, 0.5 * start));
  const interval = [0.05, 0.1, 0.2, 0.5, 1, 2].find((step) => (top - low) / step <= 8) ?? 5;
  // 3 * 0.2 is not 0.6 in binary, and the label would show it.
  const multiple = (value: number, to: (value: number) => number): number => Number((interval * to(value / interval)).toFixed(2));
  // Whole powers of ten, so that every label of the axis is short.
  const power = (rate: number, to: (value: number) => number): number => 10 ** to(Math.log10(rate));
  const mark = (x: number, name: string, color: string): NonNullable<NonNullable<LineSeriesOption["markLine"]>["data"]>[number] => ({
    xAxis: x,
    lineStyle: { color, type: "dashed", width: 1.4 },
    label: {
      show: true,
      formatter: `${name}\n${Number(x.toPrecision(2))}`,
      position: "end",
      color: ink,
      fontSize: 11,
      fontFamily,
      align: "center",
    },
  });
  const marks = suggestion === null ? [] : [mark(suggestion, "suggested", palette[2] as string), mark(lowest, "lowest", chanceInk)];
  return {
    width: 720,
    height: 440,
    option: {
      ...baseOption("Learning rate range test", `${thousands(points.length)} steps, each at a higher rate; smoothed over 31 steps`),
      legend: { right: 20, top: 14, itemWidth: 22, itemGap: 16, textStyle: { color: ink, fontSize: 12 }, data: ["one batch", "smoothed"] },
      grid: { left: 70, top: 110, width: 610, height: 260 },
      xAxis: {
        type: "log",
        name: "learning rate",
        nameGap: 30,
        min: power(points[0]?.learningRate ?? 1e-6, Math.floor),
        max: power(points.at(-1)?.learningRate ?? 10, Math.ceil),
        ...axisStyle(),
      },
      yAxis: {
        type: "value",
        name: "training loss (nats)",
        nameGap: 44,
        min: multiple(low, Math.floor),
        max: multiple(top, Math.ceil),
        interval,
        ...axisStyle(),
      },
      series: [
        {
          type: "line",
          name: "one batch",
          data: points.map(({ learningRate, loss }) => [learningRate, loss]),
          symbol: "circle",
          symbolSize: 3,
          showSymbol: true,
          lineStyle: { width: 0 },
          itemStyle: { color: palette[4] as string, opacity: 0.7 },
        },
        {
          type: "line",
          name: "smoothed",
          data: points.map(({ learningRate, smoothed }) => [learningRate, smoothed]),
          symbol: "none",
          lineStyle: { width: 2.2, color: palette[0] as string },
          itemStyle: { color: palette[0] as string },
          markLine: { symbol: "none", silent: true, animation: false, precision: 12, data: marks },
        },
      ],
    },
  };
}
