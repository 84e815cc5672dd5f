import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { encodeFeatureModel, encodeOnnxClassifier } from "../../../src/backbones/feature-model.ts";
import { loadBackbone, type OnnxBackbone } from "../../../src/backbones/load-backbone.ts";
import { runCli } from "../../../src/cli/main.ts";
import { checkModel } from "../../../src/onnx/check-model.ts";
import { encodeModel, writeNodes, writeTensors } from "../../../src/onnx/encode.ts";
import { readInterface } from "../../../src/onnx/model-interface.ts";
import { ProtobufWriter } from "../../../src/onnx/protobuf.ts";
import { onnxruntime } from "../../../src/runtime/onnxruntime.ts";
import { foreignFile, foreignModel, type ForeignOptions } from "../../helpers/onnx-backbone.ts";
import { randomArray } from "../../helpers/random-array.ts";
import { recordedContext } from "../../helpers/recorded-output.ts";

const [side, channels, classes] = [32, 12, 3];
const [mean, std] = [
  [0.5, 0.4, 0.3],
  [0.2, 0.25, 0.5],
];
const colours = ["--mean", mean.join(","), "--std", std.join(",")];
const plainNames = { input: "pixel_values", output: "last_hidden_state", between: "between" };

let dir: string;
beforeAll(async () => void (dir = await mkdtemp(join(tmpdir(), "serval-onnx-"))));
afterAll(async () => await rm(dir, { recursive: true, force: true }));

async function add(name: string, bytes: Uint8Array, ...flags: string[]): Promise<{ code: number; out: string; err: string }> {
  await writeFile(join(dir, `${name}.onnx`), bytes);
  const context = recordedContext(dir);
  const code = await runCli(["backbones", "add", `${name}.onnx`, ...flags], context);
  return { code, out: context.stdout.text, err: context.stderr.text };
}

async function addForeign(name: string, options: Partial<ForeignOptions>, ...flags: string[]): Promise<OnnxBackbone> {
  const bytes = foreignFile({ kind: "maps", layout: "NCHW", side, channels, ...options });
  const { code, err } = await add(name, bytes, ...colours, ...flags);
  expect([code, err]).toEqual([0, ""]);
  const backbone = await loadBackbone(name, dir);
  if (backbone.kind !== "onnx") throw new Error("It is not an ONNX backbone.");
  expect(Buffer.from(backbone.model).equals(Buffer.from(bytes))).toBe(true);
  return backbone;
}

type Outputs = Record<string, { shape: readonly number[]; values: number[] }>;

async function run(
  model: Uint8Array,
  feeds: Parameters<Awaited<ReturnType<typeof onnxruntime.createSession>>["run"]>[0],
): Promise<Outputs> {
  const session = await onnxruntime.createSession(model, { threads: 1 });
  const outputs = await session.run(feeds);
  await session.close();
  return Object.fromEntries(
    Object.entries(outputs).map(([name, { shape, data }]) => [name, { shape, values: Array.from(data as Float32Array, Number) }]),
  );
}

const count = 3;
const images = Uint8Array.from(randomArray(count * side * side * 3, 3, 0, 256));

/** The pictures as the network was trained to take them, by the definition. */
function normalised(layout: "NCHW" | "NHWC"): Float32Array {
  const result = new Float32Array(images.length);
  for (let i = 0; i < images.length; i++) {
    const [colour, pixel, image] = [i % 3, Math.floor(i / 3) % (side * side), Math.floor(i / (3 * side * side))];
    const at = layout === "NHWC" ? i : (image * 3 + colour) * side * side + pixel;
    result[at] = (images[i]! / 255 - mean[colour]!) / std[colour]!;
  }
  return result;
}

/**
 * What the file makes of the pictures, run alone. The engine's binding takes no numbers of 16 bits: there the same network runs on rounded
 * ones of 32.
 */
async function runAlone(
  { onnx, model }: OnnxBackbone,
  options: Partial<ForeignOptions>,
): Promise<{ shape: readonly number[]; values: number[] }> {
  const { input, output, layout, dtype, kind } = onnx;
  const floats = normalised(layout);
  const half = dtype === "float16";
  const alone = half ? foreignFile({ ...options, kind, layout, side, channels, dtype: "float32" }) : model;
  const shape = layout === "NCHW" ? [count, 3, side, side] : [count, side, side, 3];
  return (await run(alone, { [input]: { dtype: "float32", shape, data: half ? floats.map(Math.f16round) : floats } }))[output]!;
}

/** The numbers of each picture that the classifier gets: means of maps [N,C,h,w], the first of the tokens, or the vector. */
function embeddingOf({ onnx }: OnnxBackbone, { shape, values }: { shape: readonly number[]; values: number[] }): number[] {
  const size = values.length / count;
  return Array.from({ length: count * channels }, (_, k) => {
    const [image, channel] = [Math.floor(k / channels), k % channels];
    if (onnx.kind !== "maps") return values[image * size + channel]!;
    const pixels = size / channels;
    let sum = 0;
    for (let p = 0; p < pixels; p++)
      sum += values[image * size + (onnx.layout === "NHWC" ? p * channels + channel : channel * pixels + p)]!;
    expect(shape).toHaveLength(4);
    return sum / pixels;
  });
}

function expectClose(actual: readonly number[], expected: readonly number[], tolerance = 1e-5): void {
  expect(actual).toHaveLength(expected.length);
  expect(Math.max(...actual.map((value, k) => Math.abs(value - expected[k]!)))).toBeLessThan(tolerance);
}

describe("an ONNX file as a backbone", () => {
  const cases: [string, Partial<ForeignOptions>, string[]][] = [
    ["maps, NCHW, with the names that our own files use", { kind: "maps" }, []],
    ["maps, NHWC", { kind: "maps", layout: "NHWC", names: plainNames }, []],
    ["a vector, NCHW", { kind: "vector", names: plainNames }, []],
    ["a vector, NHWC, with the names that our own files use", { kind: "vector", layout: "NHWC" }, []],
    ["tokens", { kind: "tokens" }, []],
    ["sides that are open", { kind: "vector", declaredSide: "side" }, ["--side", "32"]],
    ["one of several outputs", { kind: "vector", names: plainNames, scores: true }, ["--output", "last_hidden_state"]],
    ["pictures of 16 bits", { kind: "vector", dtype: "float16" }, []],
    ["operator set 13", { kind: "maps", opset: 13 }, []],
    ["operator set 21", { kind: "maps", opset: 21 }, []],
  ];
  test.each(cases)("%s: head and backbone in one file answer as the two apart", async (title, options, flags) => {
    const backbone = await addForeign(title.replaceAll(/\W+/g, "-").toLowerCase(), options, ...flags);
    const alone = await runAlone(backbone, options);
    const embedding = embeddingOf(backbone, alone);
    const weight = Float32Array.from(randomArray(classes * channels, 8));
    const bias = Float32Array.from(randomArray(classes, 9));
    const metadata = { producer: "serval" };
    const model = encodeOnnxClassifier(backbone, { weight, bias, temperature: 2, precision: "float32", metadata });
    checkModel(model);
    const fed = { images: { dtype: "uint8", shape: [count, side, side, 3], data: images } } as const;
    const { features, logits, probabilities } = await run(model, fed);
    const expected = Array.from({ length: count * classes }, (_, k) => {
      const [image, label] = [Math.floor(k / classes), k % classes];
      let sum = bias[label]!;
      for (let c = 0; c < channels; c++) sum += weight[label * channels + c]! * embedding[image * channels + c]!;
      return sum;
    });
    const tolerance = backbone.onnx.dtype === "float16" ? 1e-3 : 1e-5;
    expect(logits!.shape).toEqual([count, classes]);
    expectClose(logits!.values, expected, tolerance);
    const softmax = expected.map((_, k) => {
      const row = expected.slice(Math.floor(k / classes) * classes, (Math.floor(k / classes) + 1) * classes);
      return Math.exp(expected[k]! / 2) / row.reduce((sum, value) => sum + Math.exp(value / 2), 0);
    });
    expectClose(probabilities!.values, softmax, tolerance);
    expect(features!.shape).toEqual([count, channels, ...(backbone.onnx.kind === "maps" ? [side / 4, side / 4] : [])]);
    const embedded = await run(encodeFeatureModel(backbone, side), fed);
    expectClose(embedded["embedding"]!.values, embedding, tolerance);
    const ours = readInterface(model);
    expect(ours.inputs.map(({ name }) => name)).toEqual(["images"]);
    expect(ours.outputs.map(({ name }) => name)).toEqual(["logits", "probabilities", "features"]);
    expect(ours.opset).toBe(options.opset ?? 17);
  });

  test("keeps its weights as they are, and its names where ours do not collide with them", async () => {
    const backbone = await addForeign("kept", { kind: "vector", names: { ...plainNames, between: "logits" } });
    const model = Buffer.from(encodeFeatureModel(backbone, side));
    const weights = foreignModel({ kind: "vector", layout: "NCHW", side, channels }).initializers[0]!.bytes;
    expect(model.indexOf(weights)).toBeGreaterThan(0);
    for (const name of ["pixel_values", "last_hidden_state", "%c0", "serval/maps", "logits"]) expect(model.includes(name)).toBe(true);
    expect(model.includes("serval2/inner/")).toBe(false);
    const classifier = { weight: new Float32Array(channels * classes), bias: new Float32Array(classes), temperature: 1, metadata: {} };
    expect(Buffer.from(encodeOnnxClassifier(backbone, { ...classifier, precision: "float32" })).includes("serval2/inner/logits")).toBe(
      true,
    );
  });

  test("with a graph inside a node that reads a value of the graph around it", async () => {
    // Both branches read "logits", which is renamed beside a classifier, whose output has that name.
    const between = "logits";
    const base = foreignModel({ kind: "maps", layout: "NCHW", side, channels, names: { ...plainNames, output: "unused", between } });
    const branch = (op: string, name: string) => (graph: ProtobufWriter) =>
      graph
        .message(1, (node) => node.string(1, between).string(2, name).string(3, name).string(4, op))
        .string(2, name)
        .message(12, (value) => value.string(1, name));
    const attribute = (name: string, op: string) => (out: ProtobufWriter) => out.string(1, name).message(6, branch(op, name)).int(20, 5);
    const condition = { name: "condition", dtype: "bool", shape: [], bytes: Uint8Array.of(1) } as const;
    const outputs = [{ ...base.outputs[0]!, name: "features" }];
    const bytes = new ProtobufWriter()
      .int(1, 8)
      .message(7, (graph) => {
        writeNodes(graph, base.nodes);
        graph.message(1, (node) =>
          node
            .string(1, "condition")
            .string(2, "features")
            .string(3, "choice")
            .string(4, "If")
            .message(5, attribute("then_branch", "Identity"))
            .message(5, attribute("else_branch", "Neg")),
        );
        graph.string(2, "nested");
        writeTensors(graph, { ...base, initializers: [...base.initializers, condition], outputs });
      })
      .message(8, (opset) => opset.int(2, 17))
      .finish();
    const { code, err } = await add("nested", bytes, ...colours);
    expect([code, err]).toEqual([0, ""]);
    const backbone = (await loadBackbone("nested", dir)) as OnnxBackbone;
    const alone = await runAlone(backbone, {});
    const classifier = {
      weight: new Float32Array(channels * classes).fill(1),
      bias: new Float32Array(classes),
      temperature: 1,
      metadata: {},
    };
    const model = encodeOnnxClassifier(backbone, { ...classifier, precision: "float32" });
    checkModel(model);
    const { features } = await run(model, { images: { dtype: "uint8", shape: [count, side, side, 3], data: images } });
    expectClose(features!.values, alone.values);
  });

  test("has a record with all that was read from the file, and is also known by the file itself", async () => {
    const { record, identity } = await addForeign("known", { kind: "maps", names: plainNames });
    expect(record).toMatchObject({
      onnx: { input: "pixel_values", layout: "NCHW", dtype: "float32", output: "last_hidden_state", kind: "maps", channels, side },
      mean,
      std,
      licence: "not stated",
    });
    const byFile = await loadBackbone("known.onnx", dir);
    expect(byFile.identity).toBe(identity);
    await cp(join(dir, "known.onnx"), join(dir, "other.onnx"));
    await writeFile(join(dir, "other.onnx"), foreignFile({ kind: "vector", layout: "NCHW", side, channels: 7 }));
    await expect(loadBackbone("other.onnx", dir)).rejects.toMatchObject({
      code: "E_BACKBONE_MISSING",
      message: `${join(dir, "other.onnx")} was not added: nothing says which pictures it takes.`,
      hint: "Run `serval backbones add other.onnx --mean R,G,B --std R,G,B` once (docs/backbones.md).",
    });
  });

  test("with other colours it is another backbone for a cache of features, and the same for a bundle", async () => {
    const first = await addForeign("colours", { kind: "vector" });
    const path = join(dir, "models/backbones/colours/backbone.json");
    const record = JSON.parse(await readFile(path, "utf8")) as Record<string, unknown>;
    await writeFile(path, JSON.stringify({ ...record, mean: [0, 0, 0] }));
    const second = await loadBackbone("colours", dir);
    expect(second.digest).toBe(first.digest);
    expect(second.identity).not.toBe(first.identity);
  });
});

describe("an ONNX file that cannot be a backbone", () => {
  const good = { kind: "vector", layout: "NCHW", side, channels, names: plainNames } as const;
  const external = (): Uint8Array => {
    // TensorProto { name 8: "far", data_location 14: EXTERNAL } as another initializer of the graph.
    const model = foreignModel(good);
    const bytes = encodeModel({
      ...model,
      initializers: [...model.initializers, { name: "far", dtype: "uint8", shape: [0], bytes: new Uint8Array(0) }],
    });
    const at = Buffer.from(bytes).indexOf(Buffer.from([0x42, 3, 0x66, 0x61, 0x72, 0x4a, 0]));
    bytes.set([0x42, 3, 0x66, 0x61, 0x72, 0x70, 1], at);
    return bytes;
  };
  const cases: [string, Uint8Array | (() => Uint8Array), string[], number, string][] = [
    [
      "no colours",
      foreignFile(good),
      [],
      2,
      "E_USAGE: --mean and --std are missing: an ONNX file does not say how its colours are normalised.",
    ],
    ["no side", foreignFile({ ...good, declaredSide: "side" }), colours, 2, "E_USAGE: --side is missing"],
    ["another side", foreignFile(good), [...colours, "--side", "64"], 2, "takes pictures of 32x32 pixels, got 64."],
    [
      "several outputs",
      foreignFile({ ...good, scores: true }),
      colours,
      2,
      "E_USAGE: --output: expected one of last_hidden_state [batch, 12], scores [batch, 12], got several.",
    ],
    [
      "an output that is not there",
      foreignFile(good),
      [...colours, "--output", "x"],
      2,
      'E_USAGE: --output: expected one of last_hidden_state [batch, 12], got "x".',
    ],
    ["one picture at a time", foreignFile({ ...good, batch: 1 }), colours, 3, "expected an open number of pictures, got 1"],
    [
      "a side that the file does not take",
      foreignFile({ ...good, declaredSide: "side" }),
      [...colours, "--side", "2"],
      3,
      "it does not run on 2 pictures of 2x2 pixels",
    ],
    ["an old operator set", foreignFile({ ...good, opset: 9 }), colours, 3, "expected operator set 11 or newer, got 9"],
    ["no picture", encodeModel({ ...foreignModel(good), inputs: [] }), colours, 3, "expected one input, the pictures, got none"],
    ["weights in another file", external, colours, 3, "E_MODEL_UNSAFE"],
    ["a file that is cut off", foreignFile(good).subarray(0, 3000), colours, 1, "E_ENGINE_MODEL"],
    ["a page", Buffer.from("<!doctype html><title>Sign in</title>"), colours, 1, "E_ENGINE_MODEL"],
  ];
  test.each(cases)("%s", async (title, bytes, flags, expectedCode, message) => {
    const name = `bad-${title.replaceAll(/\W+/g, "-")}`;
    const { code, err } = await add(name, typeof bytes === "function" ? bytes() : bytes, ...flags);
    expect([code, err]).toEqual([expectedCode, expect.stringContaining(message)]);
    await expect(loadBackbone(name, dir)).rejects.toMatchObject({ code: "E_BACKBONE_MISSING" });
  });
});
