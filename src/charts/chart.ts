import type { ContinousVisualMapComponentOption, EChartsOption } from "echarts";

/**
 * One picture: an ECharts option, without functions, and the size in CSS pixels that it is made for. The server draws it with
 * `chartSvg`; a page hands `option` to `echarts.init(element).setOption(...)`.
 */
export interface Chart {
  readonly option: EChartsOption;
  readonly width: number;
  readonly height: number;
}

/**
 * Colours by Okabe and Ito (2008), which people with any colour vision tell apart, in the order of use; its yellow is
 * left out because it cannot be seen on white.
 */
export const palette: readonly string[] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#4d4d4d"];

export const ink = "#1f2933";
export const mutedInk = "#5f6c7b";
const gridInk = "#e4e8ee";
export const chanceInk = "#9aa5b1";

/** Colours of a heat map for a share in [0,1], the third of a cell's values. */
export const shareColours: ContinousVisualMapComponentOption = {
  show: false,
  dimension: 2,
  min: 0,
  max: 1,
  inRange: { color: ["#ffffff", "#b9d7ea", "#5aa5d0", "#0072b2", "#00436b"] },
};

/** DejaVu Sans is what small containers have; browsers take the first ones. */
export const fontFamily = "Helvetica, Arial, 'DejaVu Sans', sans-serif";

/** What every chart begins with: title on the left, facts below it, no animation (a server draws one frame). */
export function baseOption(title: string, subtitle?: string): EChartsOption {
  return {
    animation: false,
    color: [...palette],
    textStyle: { fontFamily, color: ink },
    title: {
      text: title,
      left: 16,
      top: 10,
      itemGap: 6,
      textStyle: { fontFamily, fontSize: 16, fontWeight: "bold", color: ink },
      ...(subtitle === undefined ? {} : { subtext: subtitle, subtextStyle: { fontFamily, fontSize: 12, color: mutedInk } }),
    },
  };
}

interface AxisStyle {
  readonly nameLocation: "middle";
  readonly nameTextStyle: { readonly color: string; readonly fontSize: number; readonly fontFamily: string };
  readonly axisLine: { readonly show: true; readonly lineStyle: { readonly color: string } };
  readonly axisTick: { readonly show: true; readonly lineStyle: { readonly color: string } };
  readonly axisLabel: { readonly color: string; readonly fontSize: number; readonly fontFamily: string };
  readonly splitLine: { readonly show: boolean; readonly lineStyle: { readonly color: string } };
}

/** Lines, ticks, labels and the name along the middle of an axis; `grid` draws the lines across the plot. */
export function axisStyle(grid = true): AxisStyle {
  return {
    nameLocation: "middle",
    nameTextStyle: { color: mutedInk, fontSize: 12, fontFamily },
    axisLine: { show: true, lineStyle: { color: chanceInk } },
    axisTick: { show: true, lineStyle: { color: chanceInk } },
    axisLabel: { color: ink, fontSize: 11, fontFamily },
    splitLine: { show: grid, lineStyle: { color: gridInk } },
  };
}

/**
 * The outline of bars as points of a line with an area below, so that a bin is as wide as it is on a value axis; `null`
 * values are gaps. `edges` has one entry more than `values`.
 */
export function barOutline(edges: readonly number[], values: readonly (number | null)[]): (readonly [number, number | null])[] {
  return values.flatMap((value, bin) => {
    const [left, right] = [edges[bin] as number, edges[bin + 1] as number];
    if (value === null) return [];
    return [
      [left, 0],
      [left, value],
      [right, value],
      [right, 0],
      [right, null],
    ] as (readonly [number, number | null])[];
  });
}
