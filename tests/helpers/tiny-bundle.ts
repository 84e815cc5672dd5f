import { renderSvg } from "../../src/image/render.ts";
import type { Preprocess } from "../../src/image/preprocess.ts";
import { preprocessImage } from "../../src/image/preprocess-image.ts";
import { writeBundle, type Bundle, type BundleManifest } from "../../src/model/bundle.ts";
import { encodeSafetensors, float16Safetensor, float32Safetensor } from "../../src/model/safetensors.ts";
import { encodeModel } from "../../src/onnx/encode.ts";
import type { OnnxAttribute, OnnxNode } from "../../src/onnx/model.ts";
import { onnxruntime } from "../../src/runtime/onnxruntime.ts";
import { float32Initializer } from "./onnx.ts";

/** What each class looks for in [R, G, B]: weights of a 1x1 convolution. */
const COLOURS = {
  blue: [-0.5, -0.5, 1],
  cyan: [-1, 0.5, 0.5],
  green: [-0.5, 1, -0.5],
  red: [1, -0.5, -0.5],
  yellow: [0.5, 0.5, -1],
} as const;
export type Colour = keyof typeof COLOURS;

export interface TinyOptions {
  readonly labels?: readonly Colour[];
  readonly preprocess?: Partial<Preprocess>;
  readonly name?: string;
  /** How sure the model is: the factor between mean colour and logits. */
  readonly sharpness?: number;
  readonly manifest?: Partial<BundleManifest>;
  /** What weights.safetensors holds: weights that are not the model's, or the model's with half as many bits. */
  readonly weights?: "wrong" | "float16";
  /** validation.jsonl. */
  readonly validation?: string;
}

const defaultLabels: readonly Colour[] = ["blue", "red"];
const defaultPreprocess: Preprocess = {
  orient: true,
  width: 20,
  height: 16,
  fit: "squash",
  kernel: "lanczos3",
  crop: { width: 16, height: 12 },
};

function weightsOf(options: TinyOptions): { conv: Float32Array; gemm: Float32Array; k: number } {
  const labels = options.labels ?? defaultLabels;
  const k = labels.length;
  const gemm = new Float32Array(k * k);
  for (let i = 0; i < k; i++) gemm[i * k + i] = options.sharpness ?? 6;
  return { conv: Float32Array.from(labels.flatMap((label) => COLOURS[label])), gemm, k };
}

/**
 * A real ONNX classifier with hand-chosen weights: class k's logit is `sharpness` times the mean of relu(colour k). Has
 * the same input and outputs as a trained bundle: images uint8 [N,H,W,3] -> logits, probabilities [N,K], features [N,K,H,W].
 */
export function tinyModel(options: TinyOptions = {}): Uint8Array {
  const { conv, gemm, k } = weightsOf(options);
  const { width, height, crop } = { ...defaultPreprocess, ...options.preprocess };
  const [h, w] = crop ? [crop.height, crop.width] : [height, width];
  const node = (op: string, inputs: string[], output: string, attributes: Record<string, OnnxAttribute> = {}): OnnxNode => ({
    name: output,
    op,
    domain: "",
    inputs,
    outputs: [output],
    attributes,
  });
  return encodeModel({
    irVersion: 8,
    producer: "serval-tests",
    graphName: "tiny",
    opsets: { "": 17 },
    nodes: [
      node("Cast", ["images"], "float", { to: { kind: "int", value: 1 } }),
      node("Transpose", ["float"], "planes", { perm: { kind: "ints", value: [0, 3, 1, 2] } }),
      node("Mul", ["planes", "scale"], "scaled"),
      node("Conv", ["scaled", "conv.weight"], "maps"),
      node("Relu", ["maps"], "features"),
      node("GlobalAveragePool", ["features"], "pooled"),
      node("Flatten", ["pooled"], "flat"),
      node("Gemm", ["flat", "classifier.weight"], "logits"),
      node("Softmax", ["logits"], "probabilities", { axis: { kind: "int", value: -1 } }),
    ],
    initializers: [
      float32Initializer("scale", [], Float32Array.of(1 / 255)),
      float32Initializer("conv.weight", [k, 3, 1, 1], conv),
      float32Initializer("classifier.weight", [k, k], gemm),
    ],
    inputs: [{ name: "images", dtype: "uint8", shape: ["N", h, w, 3] }],
    outputs: [
      { name: "logits", dtype: "float32", shape: ["N", k] },
      { name: "probabilities", dtype: "float32", shape: ["N", k] },
      { name: "features", dtype: "float32", shape: ["N", k, h, w] },
    ],
    metadata: {},
  });
}

/** A JPEG (or PNG) drawn for the tests: a background of the colour with a few shapes, different for each `variant`. */
export async function colourPicture(colour: Colour, variant = 0, format: "jpeg" | "png" = "jpeg"): Promise<Buffer> {
  const hue = { red: 0, yellow: 60, green: 120, cyan: 180, blue: 240 }[colour] + (variant % 5) * 3;
  const [width, height] = [60 + (variant % 7) * 5, 48 + (variant % 3) * 9];
  const circle = `<circle cx="${10 + ((variant * 13) % 40)}" cy="${12 + ((variant * 7) % 30)}" r="${4 + (variant % 6)}" fill="hsl(${hue},40%,70%)"/>`;
  const svg =
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}">` +
    `<rect width="100%" height="100%" fill="hsl(${hue},80%,${40 + (variant % 4) * 5}%)"/>${circle}</svg>`;
  return await renderSvg(svg, { format, quality: 92 });
}

/** Probabilities [K] of one picture by the shortest way: preprocessing and a session, no worker and no service. */
export async function directAnswer(model: Uint8Array, preprocess: Preprocess, picture: Uint8Array): Promise<number[]> {
  const pixels = await preprocessImage(picture, preprocess, { maxBytes: 1 << 24, maxPixels: 1 << 26 });
  const { width, height } = preprocess.crop ?? preprocess;
  const session = await onnxruntime.createSession(model, { threads: 1 });
  const outputs = await session.run({ images: { dtype: "uint8", shape: [1, height, width, 3], data: pixels } });
  const probabilities = [...(outputs["probabilities"]!.data as Float32Array)];
  await session.close();
  return probabilities;
}

/** Writes a complete bundle around `tinyModel`, with one check picture for each label. */
export async function writeTinyBundle(dir: string, options: TinyOptions = {}): Promise<Bundle> {
  const labels = options.labels ?? defaultLabels;
  const preprocess = { ...defaultPreprocess, ...options.preprocess };
  const model = tinyModel(options);
  const { conv, gemm, k } = weightsOf(options);
  const pictures: Record<string, Buffer> = {};
  const checks: { file: string; probabilities: number[]; tolerance: number }[] = [];
  for (const [i, label] of labels.entries()) {
    const file = `checks/${label}.jpg`;
    pictures[file] = await colourPicture(label, i);
    checks.push({ file, probabilities: await directAnswer(model, preprocess, pictures[file]), tolerance: 1e-3 });
  }
  return await writeBundle(dir, {
    manifest: {
      name: options.name ?? "colours",
      labels: [...labels],
      preprocess,
      abstainBelow: null,
      metrics: { accuracy: 0.975 },
      reference: {},
      dataVersion: "0".repeat(64),
      paramsHash: "1".repeat(64),
      seed: 42,
      checks,
      ...options.manifest,
    },
    files: {
      "model.onnx": model,
      "weights.safetensors": encodeSafetensors({
        "conv.weight": float32Safetensor([k, 3, 1, 1], conv),
        "fc.weight":
          options.weights === "float16"
            ? float16Safetensor([k, k], gemm)
            : float32Safetensor([k, k], options.weights === "wrong" ? gemm.map((w) => w + 1) : gemm),
      }),
      ...pictures,
    },
    card: "# colours\n\nTells pictures apart by their main colour.\n",
    provenance: { createdAt: "2026-01-01T00:00:00Z", run: "test" },
    ...(options.validation !== undefined && { validation: options.validation }),
  });
}
