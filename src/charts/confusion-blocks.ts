import type { HeatmapSeriesOption } from "echarts";
import { percent, thousands } from "../text.ts";
import { axisStyle, baseOption, ink, palette, shareColours, type Chart } from "./chart.ts";
import { worstConfusions, type Confusion } from "./worst-confusions.ts";

const mostBlocks = 25;
const mostListed = 20;
/** Of a label: longer ones end in an ellipsis. */
const shownCharacters = 24;
const cell = 22;
const rowHeight = 24;
const left = 200;
const top = 70;

/**
 * A confusion matrix of many classes: a heat map of blocks of neighbouring classes, each cell with the share of the true block's images, and
 * below it the pairs of classes that were confused most often. Its size does not depend on the number of classes.
 */
export function confusionBlocks(labels: readonly string[], confusion: readonly (readonly number[])[]): Chart {
  const blockSize = Math.ceil(labels.length / mostBlocks);
  const sums = sumBlocks(confusion, blockSize);
  const names = sums.map((_, block) => `${shorten(labels[block * blockSize] as string)} …`);
  const total = sums.flat().reduce((sum, n) => sum + n, 0);
  const right = confusion.reduce((sum, row, k) => sum + (row[k] as number), 0);
  const worst = worstConfusions(confusion, mostListed);
  const side = cell * sums.length;
  const listTop = top + side + 190;
  const blocks = { type: "category" as const, data: names, gridIndex: 0, ...axisStyle(false), axisTick: { show: false } };
  const label = { color: ink, fontSize: 11, interval: 0, width: 150, overflow: "truncate" as const };
  const share = total > 0 ? ` (${percent(right / total, 2)})` : "";
  const subtitle = `${thousands(right)} of ${thousands(total)} right${share}; ${sums.length} blocks of ${blockSize} neighbouring classes`;
  const { title, ...base } = baseOption("Confusion matrix", subtitle);
  return {
    width: Math.max(left + side + 40, 900),
    height: listTop + rowHeight * Math.max(1, worst.length) + 30,
    option: {
      ...base,
      title: [title, { ...(title as object), text: "Worst confusions", top: listTop - 54, subtext: describeList(worst) }] as NonNullable<
        Chart["option"]["title"]
      >,
      grid: [
        { left, top, width: side, height: side },
        { left: left + 220, top: listTop, width: 360, height: rowHeight * Math.max(1, worst.length) },
      ],
      xAxis: [
        { ...blocks, name: "predicted class", nameGap: 108, axisLabel: { ...label, rotate: 60, width: 96 } },
        { type: "value", gridIndex: 1, min: 0, show: false },
      ],
      yAxis: [
        { ...blocks, name: "true class", nameGap: left - 26, inverse: true, axisLabel: label },
        {
          type: "category",
          gridIndex: 1,
          inverse: true,
          data: worst.map((pair) => `${shorten(labels[pair.truth] as string)} mistaken for ${shorten(labels[pair.predicted] as string)}`),
          axisLine: { show: false },
          axisTick: { show: false },
          axisLabel: { color: ink, fontSize: 12, interval: 0 },
        },
      ],
      visualMap: { ...shareColours, seriesIndex: 0 },
      series: [heatMap(sums), listBars(worst)],
    },
  };
}

function heatMap(sums: readonly (readonly number[])[]): HeatmapSeriesOption {
  const data = sums.flatMap((row, actual) => {
    const rowTotal = row.reduce((sum, n) => sum + n, 0);
    return row.map((n, predicted) => ({ value: [predicted, actual, rowTotal === 0 ? 0 : n / rowTotal] }));
  });
  return { type: "heatmap", data, itemStyle: { borderColor: "#d5dbe3", borderWidth: 1 } };
}

function listBars(worst: readonly Confusion[]): NonNullable<Chart["option"]["series"]> & { type: "bar" } {
  return {
    type: "bar",
    xAxisIndex: 1,
    yAxisIndex: 1,
    barWidth: 12,
    itemStyle: { color: palette[1] as string },
    data: worst.map(({ count, of }) => ({
      value: count,
      label: { show: true, position: "right", color: ink, fontSize: 12, formatter: `${thousands(count)} of ${thousands(of)}` },
    })),
  };
}

function describeList(worst: readonly Confusion[]): string {
  return worst.length === 0 ? "No class was mistaken for another." : "images of the first class that were mistaken for the second";
}

/** Counts of blocks of `blockSize` classes: [true block][predicted block]. */
function sumBlocks(confusion: readonly (readonly number[])[], blockSize: number): number[][] {
  const count = Math.ceil(confusion.length / blockSize);
  const sums = Array.from({ length: count }, () => Array<number>(count).fill(0));
  for (const [actual, row] of confusion.entries()) {
    const into = sums[Math.floor(actual / blockSize)] as number[];
    for (const [predicted, n] of row.entries()) {
      const block = Math.floor(predicted / blockSize);
      into[block] = (into[block] as number) + n;
    }
  }
  return sums;
}

function shorten(label: string): string {
  const characters = Array.from(label);
  return characters.length <= shownCharacters ? label : `${characters.slice(0, shownCharacters - 1).join("")}…`;
}
