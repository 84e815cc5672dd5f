import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, onTestFinished, test } from "vitest";
import { loadParams, paramsHash, parseParams } from "../../../src/config/params.ts";
import { renderParams } from "../../../src/config/params-template.ts";
import { ServalError } from "../../../src/errors/serval-error.ts";

/** The problems that E_PARAMS lists; none when the text is accepted. */
function problems(text: string, sets: string[] = []): string[] {
  try {
    parseParams(text, sets);
    return [];
  } catch (error) {
    if (error instanceof ServalError && error.code === "E_PARAMS") return error.message.split("\n  ");
    throw error;
  }
}

describe("params.yaml", () => {
  test("gives the baseline of the reference task where it says nothing", () => {
    expect(parseParams("")).toEqual({
      data: { source: "sample", dedupe: true },
      prepare: { width: 112, height: 112, fit: "squash", kernel: "lanczos3", split: { train: 0.8, val: 0.1, test: 0.1 }, seed: 42 },
      train: {
        architecture: "cnn4",
        channels: [32, 64, 128, 256],
        blocks: 2,
        init: "",
        freezeEpochs: 1,
        cropSize: 96,
        sizes: [64, 80, 96],
        epochs: 13,
        batchSize: 32,
        optimizer: "adamw",
        learningRate: 0.002,
        momentum: 0.9,
        weightDecay: 0.05,
        labelSmoothing: 0.05,
        warmupEpochs: 1,
        dropout: 0.2,
        flip: true,
        cropScale: 1,
        colorJitter: 0,
        blur: 0,
        noise: 0,
        erasing: 0,
        mixup: 0,
        cutmix: 0,
        mixProbability: 0.5,
        emaDecay: 0,
        patience: 0,
        seed: 42,
        threads: 0,
        lowering: "auto",
      },
      model: { name: "classifier", precision: "float32" },
    });
  });

  test("is read from the working folder; without one the defaults hold", async () => {
    const dir = await mkdtemp(join(tmpdir(), "serval-params-"));
    expect(await loadParams(dir)).toEqual(parseParams(""));
    await writeFile(join(dir, "params.yaml"), "train:\n  epochs: 3\n  channels: [8, 16, 16, 32]\nprepare:\n");
    const params = await loadParams(dir, ["train.batchSize=8"]);
    expect([params.train.epochs, params.train.batchSize, params.train.channels]).toEqual([3, 8, [8, 16, 16, 32]]);
    expect(params.prepare).toEqual(parseParams("").prepare);
    await rm(dir, { recursive: true });
  });

  test("in this repository is that of the reference task", async () => {
    const params = await loadParams(join(import.meta.dirname, "../../.."));
    expect(params.data.source).toBe("preset:cats-dogs");
    expect(params.model.name).toBe("cats-dogs");
  });

  test("is a file: a folder of that name is refused", async () => {
    const dir = await mkdtemp(join(tmpdir(), "serval-params-"));
    onTestFinished(async () => await rm(dir, { recursive: true }));
    await mkdir(join(dir, "params.yaml"));
    await expect(loadParams(dir)).rejects.toMatchObject({
      code: "E_TEXT_FILE",
      message: expect.stringMatching(/params\.yaml: expected a file of at most \d+ bytes, got a folder\.$/),
    });
  });

  test("is frozen through and through", () => {
    const params = parseParams("");
    expect(() => Object.assign(params.train, { epochs: 1 })).toThrow(TypeError);
    expect(() => (params.train.channels as number[]).push(1)).toThrow(TypeError);
    expect(() => Object.assign(params.prepare.split, { train: 1 })).toThrow(TypeError);
  });

  test("names the line and path of each problem, what was expected and what was got", () => {
    const text =
      "train:\n  epochs: twelve\n  learning_rate: 0.1\n  epoch: 2\n  channels: [1, 2, x, 4]\n  fliip: true\nprepare: 4\nzzzzz: 1\n__proto__: 3\n";
    expect(problems(text)).toEqual([
      'params.yaml:2: train.epochs: expected an integer from 1 to 10000, got "twelve".',
      "params.yaml:3: train.learning_rate: there is no such parameter. Did you mean train.learningRate?",
      "params.yaml:4: train.epoch: there is no such parameter. Did you mean train.epochs?",
      'params.yaml:5: train.channels: expected a list of 4 to 6, each an integer from 1 to 1024, got [1,2,"x",4].',
      "params.yaml:6: train.fliip: there is no such parameter. Did you mean train.flip?",
      "params.yaml:7: prepare: expected a section with the keys width, height, fit, kernel, split, seed, got 4.",
      "params.yaml:8: zzzzz: there is no such parameter.",
      "params.yaml:9: __proto__: there is no such parameter.",
    ]);
  });

  test.each([
    ["train.epochs=0", "expected an integer from 1 to 10000, got 0."],
    ["train.epochs=2.5", "expected an integer from 1 to 10000, got 2.5."],
    ["train.epochs=", "expected an integer from 1 to 10000, got nothing."],
    ["train.optimizer=adam", 'expected one of sgd, adamw, got "adam".'],
    ["train.learningRate=0", "expected a number above 0 and at most 10, got 0."],
    ["train.dropout=1", "expected a number of at least 0 and below 1, got 1."],
    ["train.flip=maybe", 'expected true or false, got "maybe".'],
    ["train.channels=[1,2]", "expected a list of 4 to 6, each an integer from 1 to 1024, got [1,2]."],
    ["train.cropSize=100", "expected an integer from 16 to 1024 in steps of 16, got 100."],
    ["train.cropSize=128", "expected at most prepare.width (112), got 128."],
    ["prepare.height=64", "train.cropSize: expected at most prepare.height (64), got 96."],
    ["train.warmupEpochs=99", "train.warmupEpochs: expected at most train.epochs ("],
    ["prepare.split.test=0.2", "prepare.split: expected train, val and test to add up to 1, got 1.1."],
    ["data.source=", 'expected text that is not empty, got "".'],
    ["model.name=A", 'expected 1 to 63 of a-z, 0-9, dot, dash and underscore, starting with a letter or digit, got "A".'],
    ["train.epochs.x=1", 'expected an integer from 1 to 10000, got {"x":1}.'],
    ["epochs=3", "epochs: there is no such parameter. Did you mean train.epochs?"],
  ])("refuses --set %s", (set, text) => {
    const found = problems("", [set]);
    expect(found).toHaveLength(1);
    expect(found[0]).toContain(text);
  });

  test("says that a problem comes from --set, even where the file has the key too", () => {
    expect(problems("train:\n  epochs: 3\n", ["train.epochs=x"])).toEqual([
      '--set: train.epochs: expected an integer from 1 to 10000, got "x".',
    ]);
    expect(problems("", ["train.epochs"])).toEqual(['--set: expected KEY=VALUE such as train.epochs=3, got "train.epochs".']);
  });

  test("keeps text as text, and lists as lists, in --set", () => {
    const params = parseParams("", ["data.source=007", "train.channels=[16, 16, 32, 32]", "train.flip=false"]);
    expect([params.data.source, params.train.channels, params.train.flip]).toEqual(["007", [16, 16, 32, 32], false]);
  });

  test("points at the place of a YAML mistake, and refuses a list as the whole file", () => {
    expect(problems("train:\n  epochs: [1,\n")[0]).toContain("params.yaml:3: Flow sequence");
    expect(problems("train:\n  epochs: 1\n  epochs: 2\n").join(" ")).toContain(
      'params.yaml:3: Map keys must be unique: "epochs" is there twice.',
    );
    expect(problems("- 1\n")).toEqual(["params.yaml: expected a section with the keys data, prepare, train, model, got [1]."]);
  });
});

const fineTuning = ["train.backbone=efficientnet-lite0", "train.strategy=finetune"];

describe("train.select", () => {
  test("is a way to choose the best epoch; without it the parameters are what they were", () => {
    expect(parseParams("", ["train.select=macroF1"]).train.select).toBe("macroF1");
    expect("select" in parseParams("").train).toBe(false);
    expect(() => parseParams("", ["train.select=f1"])).toThrow(/train\.select: expected one of accuracy, macroF1, loss, got "f1"/);
  });

  test("has nothing to choose for a classifier on a backbone", () => {
    expect(() => parseParams("", ["train.backbone=efficientnet-lite0", "train.select=loss"])).toThrow(
      /train\.select: expected nothing where only a classifier on a backbone is fitted/,
    );
    expect(parseParams("", [...fineTuning, "train.select=loss"]).train.select).toBe("loss");
  });
});

describe("fine-tuning", () => {
  const scratch = parseParams("").train;

  test.each(["finetune", "auto"])("has defaults for weights that are good already, also with %s, and what is given counts", (strategy) => {
    const yaml = `train:\n  backbone: efficientnet-lite0\n  strategy: ${strategy}\n  cropScale: 0.9\n`;
    const { train } = parseParams(yaml, ["train.epochs=3"]);
    expect([train.epochs, train.cropScale]).toEqual([3, 0.9]);
    expect(train.learningRate).toBeLessThan(scratch.learningRate);
    expect(train.emaDecay).toBeGreaterThan(0.9);
    expect(parseParams("", ["train.epochs=3", "train.cropScale=0.9", ...fineTuning]).train).toEqual({ ...train, strategy: "finetune" });
  });

  test("changes no default where a classifier alone is fitted, or a network from scratch is trained", () => {
    expect(parseParams("", ["train.backbone=efficientnet-lite0"]).train).toEqual({ ...scratch, backbone: "efficientnet-lite0" });
    expect(parseParams("", ["train.backbone=none", "train.strategy=scratch"]).train).toEqual({
      ...scratch,
      backbone: "none",
      strategy: "scratch",
    });
  });

  test.each([
    [["train.strategy=finetune"], "train.strategy: finetune needs a train.backbone, such as efficientnet-lite0."],
    [["train.strategy=auto", "train.backbone=none"], "train.strategy: auto needs a train.backbone, such as efficientnet-lite0."],
    [["train.layerDecay=0.9"], "train.layerDecay: expected nothing with scratch: only finetune gives layers different learning rates."],
    [
      ["train.layerDecay=0.9", "train.backbone=efficientnet-lite0"],
      "train.layerDecay: expected nothing with head: only finetune gives layers different learning rates.",
    ],
    [[...fineTuning, "train.layerDecay=0"], "train.layerDecay: expected a number above 0 and at most 1, got 0."],
  ])("%j: %s", (sets, message) => {
    expect(() => parseParams("", sets)).toThrow(message);
  });
});

describe("the hash of the parameters", () => {
  test("does not depend on how they were written", () => {
    const a = parseParams("train:\n  epochs: 3\n  seed: 1\n");
    const b = parseParams("# a comment\ntrain: {seed: 1}\n", ["train.epochs=3"]);
    expect(paramsHash(a)).toBe(paramsHash(b));
    expect(paramsHash(a)).toMatch(/^[0-9a-f]{64}$/);
  });

  test("differs when any one number differs", () => {
    fc.assert(
      fc.property(
        fc.constantFrom("train.epochs", "train.seed", "prepare.seed", "train.batchSize"),
        fc.integer({ min: 100, max: 4000 }),
        (path, value) => {
          expect(paramsHash(parseParams("", [`${path}=${value}`]))).not.toBe(paramsHash(parseParams("")));
        },
      ),
      { numRuns: 30 },
    );
  });
});

describe("the commented template", () => {
  test("parses to the defaults, with the given values in place", () => {
    expect(parseParams(renderParams())).toEqual(parseParams(""));
    const params = parseParams(renderParams({ "data.source": "a: b # c", "model.name": "007", "train.channels": [1, 2, 3, 4] }));
    expect([params.data.source, params.model.name, params.train.channels]).toEqual(["a: b # c", "007", [1, 2, 3, 4]]);
  });
});
