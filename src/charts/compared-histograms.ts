import { axisStyle, barOutline, baseOption, ink, palette, type Chart } from "./chart.ts";

export interface ComparedHistogram {
  readonly title: string;
  readonly low: number;
  readonly high: number;
  /** Counts of each bin; the bins of both are the same. */
  readonly reference: readonly number[];
  readonly window: readonly number[];
}

/** Two histograms over each other, as shares of their sums: what the model learnt from, and what it sees. */
export function comparedHistograms({ title, low, high, reference, window }: ComparedHistogram): Chart {
  const edges = Array.from({ length: reference.length + 1 }, (_, i) => low + ((high - low) * i) / reference.length);
  const shares = (counts: readonly number[]): number[] => {
    const sum = counts.reduce((total, count) => total + count, 0);
    return counts.map((count) => (sum === 0 ? 0 : count / sum));
  };
  const series = [
    ["in training", shares(reference), palette[0] as string],
    ["now", shares(window), palette[1] as string],
  ] as const;
  return {
    width: 460,
    height: 280,
    option: {
      ...baseOption(title),
      legend: { right: 16, top: 12, itemWidth: 18, itemHeight: 10, textStyle: { color: ink, fontSize: 12 } },
      grid: { left: 60, right: 20, top: 56, bottom: 40 },
      xAxis: { type: "value", min: low, max: high, ...axisStyle(false) },
      yAxis: { type: "value", name: "share", nameGap: 40, min: 0, ...axisStyle() },
      series: series.map(([name, values, color]) => ({
        type: "line" as const,
        name,
        data: barOutline(edges, values).map((point) => [...point]),
        symbol: "none",
        lineStyle: { color, width: 1.5 },
        itemStyle: { color },
        areaStyle: { color, opacity: 0.25 },
      })),
    },
  };
}
