import { percent, thousands } from "../text.ts";
import { axisStyle, barOutline, baseOption, chanceInk, ink, palette, type Chart } from "./chart.ts";

export interface ReliabilityBin {
  readonly lower: number;
  readonly upper: number;
  readonly count: number;
  readonly confidence: number | null;
  readonly accuracy: number | null;
}

/**
 * Reliability diagram: how often the model is right when it is this sure. Bars below the diagonal mean that it is surer
 * than it should be. Below: how many images fall into each bin.
 */
export function reliabilityDiagram(bins: readonly ReliabilityBin[], ece: number): Chart {
  const total = bins.reduce((sum, bin) => sum + bin.count, 0);
  const confidenceAxis = { type: "value" as const, min: 0, max: 1, interval: 0.2 };
  const side = 400;
  return {
    width: side + 100,
    height: side + 250,
    option: {
      ...baseOption("Reliability", `expected calibration error ${percent(ece, 2)}, ${thousands(total)} images`),
      legend: {
        left: 86,
        top: 82,
        orient: "vertical",
        itemWidth: 18,
        itemHeight: 10,
        textStyle: { color: ink, fontSize: 12 },
        data: [
          { name: "accuracy of the bin", icon: "rect" },
          { name: "mean confidence and accuracy", icon: "circle" },
          { name: "perfectly calibrated", icon: "path://M0,0 L18,0 L18,2 L0,2 Z" },
        ],
      },
      grid: [
        { left: 70, top: 70, width: side, height: side },
        { left: 70, top: side + 104, width: side, height: 84 },
      ],
      xAxis: [
        { ...confidenceAxis, gridIndex: 0, ...axisStyle() },
        { ...confidenceAxis, gridIndex: 1, name: "confidence", nameGap: 28, ...axisStyle(false) },
      ],
      yAxis: [
        { type: "value", gridIndex: 0, name: "accuracy", nameGap: 40, min: 0, max: 1, interval: 0.2, ...axisStyle() },
        { type: "value", gridIndex: 1, name: "images", nameGap: 50, splitNumber: 2, minInterval: 1, ...axisStyle() },
      ],
      series: seriesOf(bins),
    },
  };
}

function seriesOf(bins: readonly ReliabilityBin[]): NonNullable<Chart["option"]["series"]> {
  const edges = [...bins.map((bin) => bin.lower), bins.at(-1)?.upper ?? 1];
  return [
    {
      type: "line",
      name: "accuracy of the bin",
      data: barOutline(
        edges,
        bins.map((bin) => bin.accuracy),
      ).map((point) => [...point]),
      symbol: "none",
      itemStyle: { color: palette[4] as string },
      lineStyle: { color: palette[0] as string, width: 1 },
      areaStyle: { color: palette[4] as string, opacity: 0.55 },
    },
    {
      type: "line",
      name: "perfectly calibrated",
      data: [
        [0, 0],
        [1, 1],
      ],
      symbol: "none",
      itemStyle: { color: chanceInk },
      lineStyle: { color: chanceInk, type: "dashed", width: 1.4 },
    },
    {
      type: "line",
      name: "mean confidence and accuracy",
      data: bins.flatMap((bin) => (bin.confidence === null || bin.accuracy === null ? [] : [[bin.confidence, bin.accuracy]])),
      symbol: "circle",
      symbolSize: 7,
      itemStyle: { color: palette[1] as string },
      lineStyle: { width: 0 },
    },
    {
      type: "line",
      name: "images",
      xAxisIndex: 1,
      yAxisIndex: 1,
      data: barOutline(
        edges,
        bins.map((bin) => bin.count),
      ).map((point) => [...point]),
      symbol: "none",
      lineStyle: { color: palette[0] as string, width: 1 },
      areaStyle: { color: palette[0] as string, opacity: 0.6 },
    },
  ];
}
