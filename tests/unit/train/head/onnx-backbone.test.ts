import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { parse } from "yaml";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { loadBackbone, type OnnxBackbone } from "../../../../src/backbones/load-backbone.ts";
import { addBackbone } from "../../../../src/workflows/model/add-backbone.ts";
import { trainModel } from "../../../../src/workflows/model/train-model.ts";
import { loadBundle, weightsFile, type Bundle } from "../../../../src/model/bundle.ts";
import { mlflowModelFiles } from "../../../../src/model/mlflow-model.ts";
import { parseSafetensors, safetensorNumbers } from "../../../../src/model/safetensors.ts";
import { onnxruntime } from "../../../../src/runtime/onnxruntime.ts";
import { makeHeadProject, type HeadProject } from "../../../helpers/head-project.ts";
import { foreignFile, type ForeignOptions } from "../../../helpers/onnx-backbone.ts";
import { patternPicture } from "../../../helpers/pattern-set.ts";
import { randomArray } from "../../../helpers/random-array.ts";
import { form, getJson, readReply, startTestService } from "../../../helpers/service.ts";

const [side, channels, classes] = [48, 32, 3];
const [mean, std] = [
  [0.5, 0.5, 0.5],
  [0.25, 0.25, 0.25],
];

let project: HeadProject;
beforeAll(async () => void (project = await makeHeadProject(side, ["checks", "columns", "rows"])));
afterAll(async () => await project.remove());

/** The logits of the backbone alone and the bundle's weights behind it, by the definition. */
async function logitsApart({ model, onnx }: OnnxBackbone, bundle: Bundle, images: Uint8Array, count: number): Promise<number[]> {
  const session = await onnxruntime.createSession(model, { threads: 1 });
  const nchw = onnx.layout === "NCHW";
  const data = new Float32Array(images.length);
  for (let i = 0; i < images.length; i++) {
    const [colour, pixel, image] = [i % 3, Math.floor(i / 3) % side ** 2, Math.floor(i / (3 * side ** 2))];
    data[nchw ? (image * 3 + colour) * side ** 2 + pixel : i] = (images[i]! / 255 - mean[colour]!) / std[colour]!;
  }
  const shape = nchw ? [count, 3, side, side] : [count, side, side, 3];
  const values = (await session.run({ [onnx.input]: { dtype: "float32", shape, data } }))[onnx.output]!.data as Float32Array;
  await session.close();
  const { tensors } = parseSafetensors(await readFile(join(bundle.dir, weightsFile)));
  expect(Object.keys(tensors).sort()).toEqual(["fc.bias", "fc.weight"]);
  const [weight, bias] = ["fc.weight", "fc.bias"].map((name) => safetensorNumbers(name, tensors[name]!)) as [Float32Array, Float32Array];
  const size = values.length / (count * channels);
  return Array.from({ length: count * classes }, (_, k) => {
    const [image, label] = [Math.floor(k / classes), k % classes];
    let sum = bias[label]!;
    for (let c = 0; c < channels; c++)
      for (let p = 0; p < size; p++) {
        const at = nchw ? (image * channels + c) * size + p : (image * size + p) * channels + c;
        sum += (weight[label * channels + c]! * values[at]!) / size;
      }
    return sum;
  });
}

describe("a classifier on an ONNX file", () => {
  const cases: [string, Pick<ForeignOptions, "kind" | "layout">, readonly number[], number][] = [
    ["maps-nchw", { kind: "maps", layout: "NCHW" }, [-1, channels, -1, -1], 200],
    ["maps-nhwc", { kind: "maps", layout: "NHWC" }, [-1, channels, -1, -1], 200],
    ["vector-nchw", { kind: "vector", layout: "NCHW" }, [-1, channels], 409],
    ["vector-nhwc", { kind: "vector", layout: "NHWC" }, [-1, channels], 409],
  ];
  test.each(cases)("%s: is trained, is one file in the bundle, and serves", async (name, options, featureShape, explained) => {
    const { cwd } = project;
    await writeFile(join(cwd, `${name}.onnx`), foreignFile({ ...options, side, channels }));
    await addBackbone({ cwd, source: `${name}.onnx`, stateDir: ".serval", mean, std });
    const backbone = (await loadBackbone(name, cwd)) as OnnxBackbone;
    const { best } = await project.train(name === "vector-nhwc" ? `${name}.onnx` : name);
    expect(best.accuracy).toBeGreaterThan(0.6);
    const bundle = await loadBundle(join(cwd, best.dir));
    expect(bundle.manifest).toMatchObject({ formatVersion: 2, backbone: { name, digest: backbone.digest, strategy: "head" } });

    const parameters = channels * 192 + channels + classes * (channels + 1);
    const card = await readFile(join(bundle.dir, "README.md"), "utf8");
    expect(card).toContain(`Network \`${name}\`, ${parameters.toLocaleString("en")} parameters.`);
    expect(card).toContain(
      `\`features\` ${options.kind === "maps" ? "[N, C, h, w], the last maps" : "[N, C], what the classifier takes"}.`,
    );
    const { signature } = parse(mlflowModelFiles(bundle, new Date())["MLmodel"]!) as { signature: { outputs: string } };
    expect(JSON.parse(signature.outputs)).toContainEqual({
      name: "features",
      type: "tensor",
      "tensor-spec": { dtype: "float32", shape: featureShape.map(() => -1) },
    });

    const service = await startTestService({ service: { modelDir: bundle.dir } });
    try {
      const { body } = await getJson(service, "/v2/models/patterns");
      expect(body.outputs[2]).toEqual({ name: "features", datatype: "FP32", shape: featureShape });
      const count = 2;
      const images = Uint8Array.from(randomArray(count * side * side * 3, 3, 0, 256));
      const reply = await fetch(`${service.url}/v2/models/patterns/infer`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({
          inputs: [{ name: "images", datatype: "UINT8", shape: [count, side, side, 3], data: [...images] }],
          outputs: [{ name: "logits" }, { name: "features" }],
        }),
      });
      const [logits, features] = (await readReply(reply)).body.outputs as { shape: number[]; data: number[] }[];
      const expected = await logitsApart(backbone, bundle, images, count);
      const scale = Math.max(...expected.map(Math.abs));
      expect(Math.max(...expected.map((value, k) => Math.abs(value - logits!.data[k]!))) / scale).toBeLessThan(1e-4);
      expect(features!.shape).toEqual([count, ...featureShape.slice(1).map((size) => (size === -1 ? side / 4 : size))]);
      const picture = await patternPicture("rows", 3, "rgb");
      const explain = await fetch(`${service.url}/explain`, { method: "POST", body: form(["file", picture]) });
      const answer = await readReply(explain);
      expect([answer.status, answer.body.error?.code]).toEqual([explained, explained === 200 ? undefined : "E_EXPLAIN"]);
    } finally {
      await service.close();
    }
  });

  test("cannot be taken out of the model again: the message says what to add instead", async () => {
    const { cwd } = project;
    const options = { cwd, source: "artifacts/best", stateDir: ".serval" };
    await expect(addBackbone(options)).rejects.toMatchObject({
      code: "E_BACKBONE_UNFIT",
      message: expect.stringContaining(
        "weights.safetensors contains only a classifier: the backbone of this model is an ONNX file.",
      ) as string,
    });
  });

  test("takes pictures of one size only: the message names it and the keys to change", async () => {
    const params = project.params("maps-nchw");
    const smaller = { ...params, train: { ...params.train, cropSize: 32 } };
    await expect(trainModel({ cwd: project.cwd, params: smaller, tracking: null })).rejects.toMatchObject({
      code: "E_PARAMS",
      message: "train.cropSize: the backbone maps-nchw takes pictures of 48x48 pixels; got 32.",
      hint: "Set train.cropSize, prepare.width and prepare.height to 48 in params.yaml, and run `serval prepare`.",
    });
  });
});
