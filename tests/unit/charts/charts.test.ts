import sharp from "sharp";
import { describe, expect, it } from "vitest";
import { barOutline, type Chart } from "../../../src/charts/chart.ts";
import { confusionMatrix } from "../../../src/charts/confusion-matrix.ts";
import { rateRange } from "../../../src/charts/rate-range.ts";
import { reliabilityDiagram } from "../../../src/charts/reliability-diagram.ts";
import { rocCurves } from "../../../src/charts/roc-curves.ts";
import { chartSvg } from "../../../src/charts/svg.ts";
import { trainingCurves } from "../../../src/charts/training-curves.ts";

const five = ["ant", "bee", "car <red> & blue", "dune", "ember"];
const fiveCounts = five.map((_, actual) => five.map((_, predicted) => (actual === predicted ? 30 + actual : predicted)));

const charts: Readonly<Record<string, Chart>> = {
  curves: trainingCurves(
    [0.7, 0.5, 0.4].map((loss, i) => ({
      epoch: i + 1,
      trainLoss: loss,
      valLoss: loss + 0.1,
      trainAccuracy: 0.8 + i / 20,
      valAccuracy: [0.7, 0.9, 0.85][i] as number,
    })),
    { epoch: 2, text: "the second is the best (dashed line)" },
  ),
  "confusion of two": confusionMatrix(
    ["cat", "dog"],
    [
      [1143, 107],
      [77, 1173],
    ],
  ),
  "confusion of five": confusionMatrix(five, fiveCounts),
  roc: rocCurves([
    {
      label: "dog",
      area: 0.75,
      points: [
        [0, 0],
        [0, 0.5],
        [1, 1],
      ],
    },
  ]),
  reliability: reliabilityDiagram(
    [
      { lower: 0, upper: 0.5, count: 0, confidence: null, accuracy: null },
      { lower: 0.5, upper: 1, count: 1234, confidence: 0.75, accuracy: 0.5 },
    ],
    0.25,
  ),
  "rate range": rateRange(
    Array.from({ length: 30 }, (_, k) => ({
      learningRate: 1e-4 * 1.3 ** k,
      loss: 1 + (k - 15) ** 2 / 200,
      smoothed: 1 + (k - 15) ** 2 / 300,
    })),
    0.0005,
    0.005,
  ),
};

/** The texts of a drawn SVG, in order. */
function texts(svg: string): string[] {
  return [...svg.matchAll(/<text\b[^>]*>([^<]*)<\/text>/g)].map((match) => match[1] as string);
}

function data(chart: Chart, series: number): unknown {
  return (chart.option.series as { data: unknown }[])[series]?.data;
}

describe("every chart", () => {
  it.each(Object.entries(charts))("%s is drawn at its size, the same every time, as a picture that decodes", async (_, chart) => {
    const svg = chartSvg(chart);
    expect(svg).toContain(`<svg width="${chart.width}" height="${chart.height}"`);
    expect(chartSvg(chart)).toBe(svg);
    const { data: pixels, info } = await sharp(Buffer.from(svg)).flatten().removeAlpha().raw().toBuffer({ resolveWithObject: true });
    expect([info.width, info.height]).toEqual([Math.round(chart.width), Math.round(chart.height)]);
    expect([...pixels.subarray(0, 3)]).toEqual([255, 255, 255]);
    expect(pixels.some((value) => value < 128)).toBe(true);
  });

  it.each(Object.entries(charts))("%s is plain data, so that it can be sent to a browser", (_, chart) => {
    expect(JSON.parse(JSON.stringify(chart.option))).toEqual(chart.option);
  });

  it.each(Object.entries(charts))("%s has a title and stays inside its frame", (_, chart) => {
    const svg = chartSvg(chart);
    expect(svg).toContain("font-weight:bold");
    for (const [, x, y] of svg.matchAll(/<text[^>]*transform="translate\((-?[\d.]+) (-?[\d.]+)\)/g)) {
      expect(Number(x)).toBeGreaterThanOrEqual(0);
      expect(Number(x)).toBeLessThanOrEqual(chart.width);
      expect(Number(y)).toBeGreaterThanOrEqual(0);
      expect(Number(y)).toBeLessThanOrEqual(chart.height);
    }
  });
});

describe("trainingCurves", () => {
  it("plots loss by epoch and accuracy in per cent, and marks the chosen epoch", () => {
    const chart = charts["curves"] as Chart;
    expect(data(chart, 0)).toEqual([
      [1, 0.7],
      [2, 0.5],
      [3, 0.4],
    ]);
    expect(data(chart, 3)).toEqual([
      [1, 70],
      [2, 90],
      [3, 85],
    ]);
    expect(texts(chartSvg(chart))).toEqual(
      expect.arrayContaining(["epoch", "loss (nats)", "accuracy (%)", "the second is the best (dashed line)"]),
    );
  });

  it("draws a run that has no epoch yet", () => {
    expect(texts(chartSvg(trainingCurves([])))).toContain("Training");
  });
});

describe("confusionMatrix", () => {
  it("writes counts and the share of the true class into the cells", () => {
    const drawn = texts(chartSvg(charts["confusion of two"] as Chart));
    expect(drawn).toEqual(expect.arrayContaining(["1,143", "91.4 %", "107", "8.6 %", "77", "6.2 %", "1,173", "93.8 %"]));
    expect(drawn).toEqual(expect.arrayContaining(["true class", "predicted class", "2,316 of 2,500 right (92.64 %)"]));
  });

  it("puts the true class on the rows: the cell right of the diagonal is the first class mistaken for the second", () => {
    const cells = data(charts["confusion of two"] as Chart, 0) as { value: number[] }[];
    expect(cells[1]?.value).toEqual([1, 0, 107 / 1250]);
  });

  it("escapes labels of any class names", () => {
    expect(chartSvg(charts["confusion of five"] as Chart)).toContain("car &lt;red&gt; &amp; blue");
  });

  it("shows colours without numbers where the cells get too small, and a class without images as empty", () => {
    const labels = Array.from({ length: 40 }, (_, i) => `c${i}`);
    const drawn = texts(
      chartSvg(
        confusionMatrix(
          labels,
          labels.map((_, i) => labels.map((_, j) => (i === j && i > 0 ? 7 : 0))),
        ),
      ),
    );
    expect(drawn).not.toContain("7");
    expect(drawn).toContain("c39");
    expect(
      texts(
        chartSvg(
          confusionMatrix(
            ["a", "b"],
            [
              [3, 0],
              [0, 0],
            ],
          ),
        ),
      ).filter((text) => text === "–").length,
    ).toBe(2);
  });
});

describe("confusionMatrix of more than 50 classes", () => {
  const count = 1000;
  const labels = Array.from({ length: count }, (_, i) => `class ${i}`);
  const confusion = labels.map((_, i) => labels.map((_, j) => (i === j ? 8 : j === (i + 1) % count ? 1 : i === 7 && j === 500 ? 5 : 0)));
  const chart = confusionMatrix(labels, confusion);

  it("is a heat map of blocks of neighbouring classes, and the worst confusions as a list", () => {
    const drawn = texts(chartSvg(chart));
    expect(data(chart, 0)).toHaveLength(25 * 25);
    expect(drawn).toContain("8,000 of 9,005 right (88.84 %); 25 blocks of 40 neighbouring classes");
    expect(drawn).toContain("class 0 …");
    expect(drawn).toContain("class 960 …");
    expect(drawn).toContain("class 7 mistaken for class 500");
    expect(drawn).toContain("5 of 14");
  });

  it("shows in a block's cell the share of its true classes' images that were mistaken for a class of the other block", () => {
    const cells = data(chart, 0) as { value: number[] }[];
    expect(cells[0]?.value).toEqual([0, 0, (40 * 8 + 39) / (40 * 9 + 5)]);
    expect(cells[1]?.value).toEqual([1, 0, 1 / (40 * 9 + 5)]);
    expect(cells[12]?.value).toEqual([12, 0, 5 / (40 * 9 + 5)]);
  });

  it("is no larger than one of 50 classes", () => {
    const fifty = labels.slice(0, 50);
    const whole = confusionMatrix(
      fifty,
      confusion.slice(0, 50).map((row) => row.slice(0, 50)),
    );
    expect(data(whole, 0)).toHaveLength(2500);
    expect(chartSvg(chart).length).toBeLessThan(chartSvg(whole).length);
    expect(chart.height).toBeLessThan(1500);
  });

  it("says so where no class was confused with another", () => {
    const right = confusionMatrix(
      labels,
      labels.map((_, i) => labels.map((_, j) => (i === j ? 1 : 0))),
    );
    expect(texts(chartSvg(right))).toContain("No class was mistaken for another.");
  });
});

describe("labels that are names of an object's prototype", () => {
  it.each(["__proto__", "constructor", "toString", "hasOwnProperty", "valueOf"])("%s is a label like others", (label) => {
    const draw = (name: string): string =>
      chartSvg(
        confusionMatrix(
          [name, "b"],
          [
            [1, 2],
            [3, 4],
          ],
        ),
      );
    const drawn = draw(label);
    const inherited: string[] = [];
    for (const key in {}) inherited.push(key);
    expect(inherited).toEqual([]);
    expect(Object.keys(Reflect.get({}, label) as object)).toEqual([]);
    expect(texts(drawn).map((text) => text.replaceAll("\u2060", ""))).toContain(label);
  });
});

describe("rocCurves", () => {
  it("names the area of each class and leaves out those without one", () => {
    const points = [
      [0, 0],
      [1, 1],
    ] as const;
    const drawn = texts(
      chartSvg(
        rocCurves([
          { label: "ant", area: 0.9876543, points },
          { label: "bee", area: null, points: [] },
          { label: "cow", area: 0.5, points },
        ]),
      ),
    );
    expect(drawn.filter((text) => text.includes("AUC"))).toEqual(["ant   AUC 0.9877", "cow   AUC 0.5000", "chance   AUC 0.5"]);
    expect(drawn).toContain("each class against all others");
  });

  it("keeps to the worst classes where there are very many", () => {
    const series = Array.from({ length: 50 }, (_, k) => ({
      label: `c${k}`,
      area: 0.5 + k / 100,
      points: [[0, 0] as const, [1, 1] as const],
    }));
    const drawn = texts(chartSvg(rocCurves(series)));
    expect(drawn).toContain("each class against all others: the 14 smallest areas of 50");
    expect(drawn.filter((text) => /^c\d+ /.test(text)).length).toBe(14);
  });
});

describe("reliabilityDiagram", () => {
  it("draws a bar per bin that has images and says the error", () => {
    expect(data(charts["reliability"] as Chart, 0)).toEqual([
      [0.5, 0],
      [0.5, 0.5],
      [1, 0.5],
      [1, 0],
      [1, null],
    ]);
    expect(texts(chartSvg(charts["reliability"] as Chart))).toContain("expected calibration error 25.00 %, 1,234 images");
  });
});

describe("the outline of bars", () => {
  it("leaves gaps for empty bins", () => {
    expect(barOutline([0, 1, 2], [null, 3]).map(([x]) => x)).toEqual([1, 1, 2, 2, 2]);
  });
});
