import type { FeatureNetwork } from "../nn/architectures/architecture.ts";
import { buildFeatureModel } from "../nn/feature-model.ts";
import type { Precision } from "../nn/lower.ts";
import { OnnxBuilder, type Emitted } from "../onnx/builder.ts";
import { encodeModel } from "../onnx/encode.ts";
import { DTYPE_CODES, type OnnxModel } from "../onnx/model.ts";
import { readInterface, type TensorInterface } from "../onnx/model-interface.ts";
import { spliceModels } from "../onnx/splice.ts";
import type { OnnxFeatures } from "./backbone-record.ts";
import type { LoadedBackbone } from "./load-backbone.ts";

/** A backbone as the bytes of an ONNX file: `images` uint8 [N,side,side,3] RGB -> `features` and `embedding` [N,C]. */
export function encodeFeatureModel(backbone: LoadedBackbone, side: number): Uint8Array {
  if (backbone.kind === "network") {
    return encodeModel(buildFeatureModel(backbone.network, backbone.weights, { height: side, width: side, blockSize: 0 }));
  }
  return encodeOnnxFeatures(backbone);
}

/** An ONNX file, and how it takes pictures and gives features. */
export interface OnnxSource {
  readonly model: Uint8Array;
  readonly onnx: OnnxFeatures;
  readonly network: Pick<FeatureNetwork, "name" | "mean" | "std">;
}

/** The same for an ONNX file: `images` uint8 [N,side,side,3] -> `features` and `embedding` [N,C]. */
export function encodeOnnxFeatures(source: OnnxSource): Uint8Array {
  return spliceOnnx(source, {}, (builder, embedding) => builder.output("embedding", embedding, ["N", source.onnx.channels]));
}

export interface ClassifierOptions {
  /** [classes, channels] */
  readonly weight: Float32Array;
  /** [classes] */
  readonly bias: Float32Array;
  /** Logits are divided by it before the softmax. */
  readonly temperature: number;
  /** How the file holds the weights of the classifier; those of the backbone stay as they are. */
  readonly precision: Precision;
  readonly metadata: Readonly<Record<string, string>>;
}

/**
 * An ONNX backbone and a linear classifier behind it as the bytes of one ONNX file: `images` uint8 [N,side,side,3] -> `logits` and
 * `probabilities` [N,K], and `features` [N,C,h,w] where the backbone makes maps, else [N,C].
 */
export function encodeOnnxClassifier(
  source: OnnxSource,
  { weight, bias, temperature, precision, metadata }: ClassifierOptions,
): Uint8Array {
  const { channels } = source.onnx;
  const classes = bias.length;
  return spliceOnnx(source, metadata, (builder, embedding) => {
    const shape = [classes, channels];
    const matrix = precision === "float16" ? builder.halves(weight, shape) : builder.floats(weight, shape);
    const logits = builder.node("Gemm", [embedding, matrix, builder.floats(bias)], [0, classes], { attributes: { transB: 1 } });
    const softened = builder.node("Mul", [logits, builder.scalar(1 / temperature)], logits.shape);
    builder.output("logits", logits, ["N", classes]);
    builder.output("probabilities", builder.node("Softmax", [softened], softened.shape, { attributes: { axis: 1 } }), ["N", classes]);
  });
}

/**
 * The ONNX file of a backbone behind what turns pictures into its input, and before what turns its output into features. All operators
 * that are added (Cast, Mul, Add, Transpose, Gather, GlobalAveragePool, Flatten, Gemm, Softmax over two axes, Identity) mean the same in
 * the operator sets 11 to 21, because the file keeps its own.
 */
function spliceOnnx(
  { model, onnx, network: { name, mean, std } }: OnnxSource,
  metadata: Readonly<Record<string, string>>,
  finish: (builder: OnnxBuilder, embedding: Emitted) => void,
): Uint8Array {
  const after = new OnnxBuilder(0);
  const output = readInterface(model).outputs.find((one) => one.name === onnx.output);
  const { features, embedding } = pool(after, asFloats(after, output?.type ?? 0), onnx);
  finish(after, embedding);
  after.output("features", features, featureShape(onnx, output?.shape ?? []));
  return spliceModels({
    inner: model,
    input: onnx.input,
    output: onnx.output,
    before: preprocessing(onnx, mean, std),
    after: after.finish(name),
    graphName: name,
    metadata,
  });
}

/** `images` uint8 [N,side,side,3] -> what the backbone takes: (value/255 - mean) / std a colour. */
function preprocessing({ side, layout, dtype }: OnnxFeatures, mean: readonly number[], std: readonly number[]): OnnxModel {
  const builder = new OnnxBuilder(0);
  const images = builder.input("images", "uint8", ["N", side, side, 3], [1, side, side, 3]);
  // One number a colour, repeated for a row: three numbers broadcast ten times slower than a row of them.
  const row = (values: readonly number[]): Emitted =>
    builder.floats(
      Float32Array.from({ length: side * 3 }, (_, k) => values[k % 3] as number),
      [1, 1, side, 3],
    );
  const floats = builder.node("Cast", [images], images.shape, { attributes: { to: DTYPE_CODES.float32 } });
  const scaled = builder.node("Mul", [floats, row(std.map((value) => 1 / (255 * value)))], floats.shape);
  const normalised = builder.node("Add", [scaled, row(mean.map((value, colour) => -value / (std[colour] as number)))], floats.shape);
  const pictures = layout === "NCHW" ? builder.transpose(normalised, [0, 3, 1, 2]) : normalised;
  const typed =
    dtype === "float16" ? builder.node("Cast", [pictures], pictures.shape, { attributes: { to: DTYPE_CODES.float16 } }) : pictures;
  builder.output("pictures", typed);
  return builder.finish("preprocessing");
}

/** What the backbone made, as float32. */
function asFloats(builder: OnnxBuilder, type: number): Emitted {
  const half = type === DTYPE_CODES.float16;
  const made = builder.input("made by the backbone", half ? "float16" : "float32", [], []);
  return half ? builder.node("Cast", [made], [], { attributes: { to: DTYPE_CODES.float32 } }) : made;
}

/** What the backbone made -> features, and one row of numbers for each picture. */
function pool(builder: OnnxBuilder, made: Emitted, { kind, layout }: OnnxFeatures): { features: Emitted; embedding: Emitted } {
  if (kind === "vector") return { features: made, embedding: made };
  if (kind === "tokens") {
    // An index without axes takes the axis away.
    const first = builder.node("Gather", [made, builder.index(0)], [], { attributes: { axis: 1 } });
    return { features: first, embedding: first };
  }
  const maps = layout === "NHWC" ? builder.transpose(made, [0, 3, 1, 2]) : made;
  const mean = builder.node("GlobalAveragePool", [maps], []);
  return { features: maps, embedding: builder.node("Flatten", [mean], [], { attributes: { axis: 1 } }) };
}

function featureShape({ kind, layout, channels }: OnnxFeatures, shape: TensorInterface["shape"]): (number | string)[] {
  if (kind !== "maps") return ["N", channels];
  const [height, width] = layout === "NHWC" ? shape.slice(1) : shape.slice(2);
  return ["N", channels, height ?? "height", width ?? "width"];
}
