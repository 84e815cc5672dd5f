import type { LineSeriesOption } from "echarts";
import { axisStyle, baseOption, chanceInk, fontFamily, ink, palette, type Chart } from "./chart.ts";

export interface RocSeries {
  readonly label: string;
  /** Area under the curve; null where it is not defined, and then nothing is drawn. */
  readonly area: number | null;
  /** [false positive rate, true positive rate], rising. */
  readonly points: readonly (readonly [number, number])[];
}

const chance = "chance   AUC 0.5";
const dashes = ["solid", "dashed", "dotted"] as const;

/** With more classes than this the picture shows those that are told apart worst. */
export const mostCurves = 14;

/** One ROC curve per class, or the single one of the positive class, with the diagonal of pure chance. */
export function rocCurves(series: readonly RocSeries[]): Chart {
  const defined = series.filter((item) => item.area !== null);
  const drawn =
    defined.length <= mostCurves ? defined : [...defined].sort((a, b) => (a.area as number) - (b.area as number)).slice(0, mostCurves);
  const worst = drawn.length < defined.length ? `: the ${drawn.length} smallest areas of ${defined.length}` : "";
  const name = (item: RocSeries): string => `${item.label}   AUC ${(item.area as number).toFixed(4)}`;
  const rate = { type: "value" as const, min: 0, max: 1, interval: 0.2, ...axisStyle() };
  const side = 400;
  return {
    width: side + 100,
    height: side + 136 + 22 * (drawn.length + 1),
    option: {
      ...baseOption(
        "ROC curve",
        drawn.length > 1 ? `each class against all others${worst}` : "true against false positives over all thresholds",
      ),
      grid: { left: 70, top: 70, width: side, height: side },
      legend: {
        left: 66,
        top: side + 122,
        orient: "vertical",
        itemWidth: 26,
        itemGap: 8,
        icon: "path://M0,0 L26,0 L26,3 L0,3 Z",
        textStyle: { color: ink, fontSize: 12, fontFamily },
        data: [...drawn.map(name), chance],
      },
      xAxis: { ...rate, name: "false positive rate", nameGap: 28 },
      yAxis: { ...rate, name: "true positive rate", nameGap: 40 },
      series: [
        {
          type: "line",
          name: chance,
          data: [
            [0, 0],
            [1, 1],
          ],
          symbol: "none",
          silent: true,
          itemStyle: { color: chanceInk },
          lineStyle: { color: chanceInk, type: "dashed", width: 1.2 },
        },
        ...drawn.map((item, k): LineSeriesOption => ({
          type: "line",
          name: name(item),
          data: item.points.map((point) => [...point]),
          symbol: "none",
          itemStyle: { color: palette[k % palette.length] as string },
          lineStyle: {
            width: 2.2,
            color: palette[k % palette.length] as string,
            type: dashes[Math.floor(k / palette.length) % 3] ?? "solid",
          },
          ...(drawn.length === 1 ? { areaStyle: { color: palette[0] as string, opacity: 0.08 } } : {}),
        })),
      ],
    },
  };
}
