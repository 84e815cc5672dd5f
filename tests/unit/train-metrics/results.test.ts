import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { openResults, parseResults, readResults, type EpochResult } from "../../../src/train/results.ts";

const header =
  "epoch,time_s,images_per_second,learning_rate,train_loss,train_accuracy,val_loss,val_accuracy,val_precision,val_recall,val_f1";

function row(epoch: number): EpochResult {
  return {
    epoch,
    timeSeconds: 63.123456 * epoch,
    imagesPerSecond: 281.55555,
    learningRate: 0.05,
    trainLoss: 0.6 / epoch,
    trainAccuracy: 0.7,
    valLoss: 0.5,
    valAccuracy: 0.75,
    valPrecision: 0.76,
    valRecall: 0.74,
    valF1: 2 / 3,
  };
}

describe("results.csv", () => {
  let dir: string;
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), "serval-results-"));
  });
  afterEach(async () => {
    await rm(dir, { recursive: true });
  });
  const text = (): Promise<string> => readFile(join(dir, "results.csv"), "utf8");

  it("has one line for each epoch under the named columns", async () => {
    const log = await openResults(dir);
    await log.append(row(1));
    await log.append(row(2));
    expect(await text()).toBe(
      `${header}\n1,63.1235,281.56,0.05,0.6,0.7,0.5,0.75,0.76,0.74,0.666667\n2,126.247,281.56,0.05,0.3,0.7,0.5,0.75,0.76,0.74,0.666667\n`,
    );
    expect(await readdir(dir)).toEqual(["results.csv"]);
  });

  it("reads back what it wrote", async () => {
    const log = await openResults(dir);
    await log.append(row(1));
    expect(await readResults(dir)).toEqual([{ ...row(1), timeSeconds: 63.1235, imagesPerSecond: 281.56, valF1: 0.666667 }]);
  });

  it("drops the epochs that a resumed run trains again and continues", async () => {
    const log = await openResults(dir);
    for (const epoch of [1, 2, 3]) await log.append(row(epoch));
    const resumed = await openResults(dir, 2);
    expect(resumed.rows.map(({ epoch }) => epoch)).toEqual([1, 2]);
    await resumed.append({ ...row(3), valAccuracy: 0.9 });
    expect((await readResults(dir)).map(({ epoch, valAccuracy }) => [epoch, valAccuracy])).toEqual([
      [1, 0.75],
      [2, 0.75],
      [3, 0.9],
    ]);
  });

  it("starts from scratch for a new run, and continues after a crash that lost a line or the file", async () => {
    await (await openResults(dir)).append(row(1));
    const resumed = await openResults(dir, 2);
    await resumed.append(row(3));
    expect((await readResults(dir)).map(({ epoch }) => epoch)).toEqual([1, 3]);
    await openResults(dir);
    expect(await text()).toBe(`${header}\n`);
    await rm(join(dir, "results.csv"));
    await (await openResults(dir, 4)).append(row(5));
    expect((await readResults(dir)).map(({ epoch }) => epoch)).toEqual([5]);
  });

  it("refuses an epoch that is there already", async () => {
    const log = await openResults(dir);
    await log.append(row(1));
    await expect(log.append(row(1))).rejects.toMatchObject({
      code: "E_RESULTS",
      message: expect.stringContaining("after 1, got 1") as string,
    });
  });

  it("keeps NaN, so that a diverged run shows it", async () => {
    const log = await openResults(dir);
    await log.append({ ...row(1), trainLoss: Number.NaN, valLoss: Number.POSITIVE_INFINITY });
    expect((await readResults(dir))[0]).toMatchObject({ trainLoss: Number.NaN, valLoss: Number.POSITIVE_INFINITY });
  });

  it("has no epochs where the file is missing, and reads line ends of Windows", async () => {
    expect(await readResults(dir)).toEqual([]);
    await writeFile(join(dir, "results.csv"), `${header}\r\n1,1,1,1,1,1,1,1,1,1,1\r\n`);
    expect((await readResults(dir)).length).toBe(1);
  });

  it.each([
    ["another header", "epoch,loss\n", "line 1"],
    ["a missing cell", `${header}\n1,2\n`, "line 2"],
    ["a word", `${header}\n1,1,1,1,1,1,x,1,1,1,1\n`, "line 2"],
    ["an epoch twice", `${header}\n1,1,1,1,1,1,1,1,1,1,1\n1,1,1,1,1,1,1,1,1,1,1\n`, "line 3"],
    ["an empty file", "", "line 1"],
  ])("names the line of %s", (_, content, line) => {
    expect(() => parseResults(content, "run/results.csv")).toThrow(
      expect.objectContaining({ code: "E_RESULTS", message: expect.stringContaining(`run/results.csv, ${line}`) as string }),
    );
  });
});
