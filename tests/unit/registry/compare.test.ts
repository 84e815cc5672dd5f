import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { bootstrapInterval, compareModels, mcnemarExact, reasonAgainst } from "../../../src/registry/compare.ts";
import { pairPredictions, readPredictions, type PairedCounts, type Prediction } from "../../../src/registry/predictions.ts";

/** Images, only the challenger right, only the champion right. */
type Case = readonly [n: number, wins: number, losses: number];

function counts([images, onlyChallengerRight, onlyChampionRight]: Case): PairedCounts {
  return { images, onlyChampionRight, onlyChallengerRight, bothRight: images - onlyChampionRight - onlyChallengerRight, bothWrong: 0 };
}

describe("the paired bootstrap", () => {
  // numpy: rng.multinomial(n, [w/n, l/n, 1-(w+l)/n], size=4_000_000), percentiles 2.5 and 97.5 by inverted_cdf of w - l.
  test.each<[Case, [number, number]]>([
    [
      [2292, 47, 30],
      [0, 34],
    ],
    [
      [500, 20, 12],
      [-3, 19],
    ],
    [
      [1000, 8, 3],
      [-1, 12],
    ],
    [
      [50, 5, 5],
      [-6, 6],
    ],
    [
      [25_000, 900, 880],
      [-63, 103],
    ],
    [
      [40, 40, 0],
      [40, 40],
    ],
    [
      [300, 1, 0],
      [0, 3],
    ],
    [
      [7, 0, 0],
      [0, 0],
    ],
  ])("of %j has the interval that four million draws have: %j images", ([n, wins, losses], expected) => {
    expect(bootstrapInterval(n, wins, losses).map((share) => Math.round(share * n))).toEqual(expected);
  });

  test("of very many images is that of the normal approximation", () => {
    const [low, high] = bootstrapInterval(200_000, 4000, 3800);
    // The standard deviation of wins - losses is the root of their sum, less a little for the mean.
    const spread = 1.96 * Math.sqrt(7800 - 200 ** 2 / 200_000);
    expect(low * 200_000).toBeCloseTo(200 - spread, -0.5);
    expect(high * 200_000).toBeCloseTo(200 + spread, -0.5);
  });
});

// scipy.stats.binomtest(wins, wins + losses, 0.5).pvalue
test.each([
  [47, 30, 0.06754925145902677],
  [20, 12, 0.21532714972272515],
  [8, 3, 0.2265625],
  [900, 880, 0.6524751309816406],
  [40, 0, 1.8189894035458565e-12],
  [5, 5, 1],
  [1, 0, 1],
  [0, 0, 1],
])("McNemar's exact p of %d to %d is that of scipy", (wins, losses, expected) => {
  expect(mcnemarExact(wins, losses) / expected).toBeCloseTo(1, 9);
  expect(mcnemarExact(losses, wins)).toBe(mcnemarExact(wins, losses));
});

describe("the gate", () => {
  test.each<[Case, string | undefined]>([
    [[2292, 47, 30], undefined],
    [[2292, 30, 30], "its accuracy may be 0.65 points lower, more than the 0.50 that may be lost"],
    [[2292, 30, 31], "its accuracy is 0.04 points lower"],
    // Five in a thousand is what may be lost; six is not.
    [[1000, 8, 3], undefined],
    [[1000, 8, 5], undefined],
    [[1000, 8, 8], "its accuracy may be 0.80 points lower, more than the 0.50 that may be lost"],
    [[500, 20, 12], "its accuracy may be 0.60 points lower, more than the 0.50 that may be lost"],
    [[300, 0, 0], undefined],
  ])("says of %j: %s", (outcome, reason) => {
    expect(reasonAgainst(compareModels(counts(outcome)))).toBe(reason);
  });

  test("knows both accuracies", () => {
    const comparison = compareModels({ images: 10, bothRight: 5, onlyChampionRight: 1, onlyChallengerRight: 3, bothWrong: 1 });
    expect(comparison).toMatchObject({ championAccuracy: 0.6, challengerAccuracy: 0.8, difference: 0.2 });
  });
});

describe("predictions", () => {
  const row = (sha256: string, label: string, predicted: string): Prediction => ({ sha256, label, predicted });

  test("are paired by image, in whatever order they stand, and repeated images one by one", () => {
    const champion = [row("a", "x", "x"), row("b", "x", "y"), row("c", "y", "y"), row("d", "y", "x"), row("d", "y", "x")];
    const challenger = [row("d", "y", "y"), row("c", "y", "x"), row("b", "x", "y"), row("a", "x", "x"), row("d", "y", "x")];
    expect(pairPredictions(champion, challenger)).toEqual({
      images: 5,
      bothRight: 1,
      onlyChampionRight: 1,
      onlyChallengerRight: 1,
      bothWrong: 2,
    });
  });

  test.each([
    ["an image more", [row("a", "x", "x"), row("b", "x", "x")], "the image b is only among the challenger's"],
    ["an image less", [], "the champion has 1 and the challenger 0"],
    ["another label", [row("a", "y", "x")], 'the image a is labelled "x" here and "y" there'],
  ])("of a challenger with %s are refused", (_, challenger, message) => {
    expect(() => pairPredictions([row("a", "x", "x")], challenger)).toThrow(
      `The predictions of the two models are not about the same images: ${message}.`,
    );
  });

  test("are read from predictions.jsonl, and a line that is none is named", async () => {
    const dir = await mkdtemp(join(tmpdir(), "serval-predictions-"));
    const path = join(dir, "predictions.jsonl");
    await writeFile(path, '{"sha256":"a","label":"x","predicted":"y","confidence":0.5}\n{"sha256":"b"}\n');
    await expect(readPredictions(path)).rejects.toThrow(
      `${path}, line 2: expected sha256, label and predicted as JSON, got "{\\"sha256\\":\\"b\\"}".`,
    );
    await expect(readPredictions(join(dir, "none"))).rejects.toMatchObject({ code: "E_PREDICTIONS" });
    await rm(dir, { recursive: true });
  });
});
