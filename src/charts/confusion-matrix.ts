import { percent, thousands } from "../text.ts";
import { axisStyle, baseOption, ink, mutedInk, shareColours, type Chart } from "./chart.ts";
import { confusionBlocks } from "./confusion-blocks.ts";

/** Above this many classes the cells are too small for numbers. */
const mostNumberedClasses = 12;
/** Above this many there are too many cells to draw, or to look at. */
const mostShownClasses = 50;

/**
 * Confusion matrix: rows are true classes, columns predicted ones. A cell shows its count and its share of the row;
 * the colour is that share, so that rare classes read as well as common ones. `confusion` is [true][predicted]. Above 50 classes: blocks of
 * classes, and the worst confusions as a list.
 */
export function confusionMatrix(labels: readonly string[], confusion: readonly (readonly number[])[]): Chart {
  const count = labels.length;
  if (count > mostShownClasses) return confusionBlocks(labels, confusion);
  const cell = count <= 3 ? 130 : count <= 6 ? 86 : count <= mostNumberedClasses ? 62 : Math.max(14, Math.floor(560 / count));
  const longest = Math.max(...labels.map((label) => label.length));
  const left = 54 + Math.round(Math.min(160, 7.2 * longest));
  const slanted = count > 3 && longest * 8 > cell;
  const bottom = 58 + (slanted ? Math.round(Math.min(92, 4.2 * longest)) : 0);
  const rowTotals = confusion.map((row) => row.reduce((sum, n) => sum + n, 0));
  const total = rowTotals.reduce((sum, n) => sum + n, 0);
  const right = confusion.reduce((sum, row, k) => sum + (row[k] as number), 0);
  const category = {
    type: "category" as const,
    data: [...labels],
    ...axisStyle(false),
    axisTick: { show: false },
    axisLine: { show: false },
  };
  const labelStyle = { color: ink, fontSize: count > 20 ? 9 : 12, interval: 0, width: 160, overflow: "truncate" as const };
  return {
    width: Math.max(360, left + cell * count + 24),
    height: 70 + cell * count + bottom,
    option: {
      ...baseOption(
        "Confusion matrix",
        `${thousands(right)} of ${thousands(total)} right${total > 0 ? ` (${percent(right / total, 2)})` : ""}`,
      ),
      grid: { left, top: 70, width: cell * count, height: cell * count },
      xAxis: { ...category, name: "predicted class", nameGap: bottom - 24, axisLabel: { ...labelStyle, rotate: slanted ? 35 : 0 } },
      yAxis: { ...category, name: "true class", nameGap: left - 26, inverse: true, axisLabel: labelStyle },
      visualMap: shareColours,
      series: [
        {
          type: "heatmap",
          data: confusion.flatMap((row, actual) =>
            row.map((n, predicted) => {
              const rowTotal = rowTotals[actual] as number;
              const share = rowTotal === 0 ? 0 : n / rowTotal;
              const color = share > 0.45 ? "#ffffff" : n === 0 ? mutedInk : ink;
              return {
                value: [predicted, actual, share],
                label: {
                  show: count <= mostNumberedClasses,
                  formatter: `{count|${thousands(n)}}\n{share|${rowTotal === 0 ? "–" : percent(share)}}`,
                  rich: {
                    count: { color, fontSize: cell > 100 ? 20 : 13, fontWeight: "bold" as const, lineHeight: cell > 100 ? 26 : 18 },
                    share: { color, fontSize: cell > 100 ? 12 : 10, lineHeight: 14 },
                  },
                },
              };
            }),
          ),
          itemStyle: { borderColor: "#d5dbe3", borderWidth: 1 },
        },
      ],
    },
  };
}
