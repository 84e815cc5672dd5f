import { axisStyle, baseOption, ink, palette, type Chart } from "./chart.ts";

export interface LineChartSeries {
  readonly name: string;
  readonly points: readonly (readonly [x: number, y: number])[];
  /** Lines with the same number have the same colour. */
  readonly colour: number;
  readonly dashed: boolean;
}

export interface LineChartOptions {
  readonly title: string;
  readonly xName: string;
  readonly yName: string;
  readonly series: readonly LineChartSeries[];
}

/** Any number of lines over one value axis. */
export function lineChart({ title, xName, yName, series }: LineChartOptions): Chart {
  const longest = Math.max(0, ...series.map(({ points }) => points.length));
  return {
    width: 640,
    height: 380,
    option: {
      ...baseOption(title),
      legend: {
        type: "plain",
        left: 16,
        right: 16,
        bottom: 4,
        itemWidth: 26,
        itemGap: 14,
        textStyle: { color: ink, fontSize: 12 },
        data: series.map(({ name }) => name),
      },
      grid: { left: 76, top: 52, right: 28, bottom: 92 },
      xAxis: { type: "value", name: xName, nameGap: 28, min: "dataMin", max: "dataMax", ...axisStyle(false) },
      yAxis: { type: "value", name: yName, nameGap: 52, scale: true, ...axisStyle() },
      series: series.map(({ name, points, colour, dashed }) => {
        const color = palette[colour % palette.length] as string;
        return {
          type: "line",
          name,
          data: points.map(([x, y]) => [x, y]),
          symbol: dashed ? "emptyCircle" : "circle",
          symbolSize: longest > 30 ? 0 : 5,
          showSymbol: true,
          lineStyle: { width: 2, color, type: dashed ? "dashed" : "solid" },
          itemStyle: { color },
        };
      }),
    },
  };
}
