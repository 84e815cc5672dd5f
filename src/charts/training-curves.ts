import type { LineSeriesOption } from "echarts";
import { axisStyle, baseOption, chanceInk, ink, mutedInk, palette, type Chart } from "./chart.ts";
import type { CurvePoint } from "./curve-point.ts";

/** The epoch that a training chose, and what is said about it. */
export interface ChosenEpoch {
  readonly epoch: number;
  readonly text: string;
}

/** Loss and accuracy by epoch, training and validation side by side, with a dashed line at the epoch that was chosen. */
export function trainingCurves(points: readonly CurvePoint[], chosen?: ChosenEpoch): Chart {
  const first = points[0]?.epoch ?? 1;
  const last = Math.max(points.at(-1)?.epoch ?? 1, first + 1);
  const epochAxis = { type: "value" as const, name: "epoch", nameGap: 28, min: first, max: last, minInterval: 1, ...axisStyle(false) };
  const line = (name: string, panel: 0 | 1, color: string, value: (point: CurvePoint) => number): LineSeriesOption => ({
    type: "line",
    name,
    xAxisIndex: panel,
    yAxisIndex: panel,
    data: points.map((point) => [point.epoch, value(point)]),
    symbol: "circle",
    symbolSize: points.length > 30 ? 0 : 5,
    showSymbol: true,
    lineStyle: { width: 2, color },
    itemStyle: { color },
  });
  const bestLine: LineSeriesOption["markLine"] = chosen && {
    symbol: "none",
    silent: true,
    animation: false,
    lineStyle: { color: chanceInk, type: "dashed", width: 1 },
    label: { show: false },
    data: [{ xAxis: chosen.epoch }],
  };
  const withBest = (series: LineSeriesOption): LineSeriesOption => (bestLine ? { ...series, markLine: bestLine } : series);
  const [trainColor, valColor] = [palette[0] as string, palette[1] as string];
  return {
    width: 900,
    height: 400,
    option: {
      ...baseOption("Training", chosen?.text),
      legend: {
        right: 20,
        top: 14,
        itemWidth: 22,
        itemGap: 16,
        textStyle: { color: ink, fontSize: 12 },
        data: ["training", "validation"],
      },
      grid: [
        { left: 70, top: 84, width: 350, height: 250 },
        { left: 520, top: 84, width: 350, height: 250 },
      ],
      xAxis: [
        { ...epochAxis, gridIndex: 0 },
        { ...epochAxis, gridIndex: 1 },
      ],
      yAxis: [
        { type: "value", gridIndex: 0, name: "loss (nats)", nameGap: 42, min: 0, ...axisStyle() },
        {
          type: "value",
          gridIndex: 1,
          name: "accuracy (%)",
          nameGap: 42,
          scale: true,
          max: 100,
          ...axisStyle(),
          nameTextStyle: { color: mutedInk, fontSize: 12 },
        },
      ],
      series: [
        line("training", 0, trainColor, (point) => point.trainLoss),
        withBest(line("validation", 0, valColor, (point) => point.valLoss)),
        line("training", 1, trainColor, (point) => 100 * point.trainAccuracy),
        withBest(line("validation", 1, valColor, (point) => 100 * point.valAccuracy)),
      ],
    },
  };
}
