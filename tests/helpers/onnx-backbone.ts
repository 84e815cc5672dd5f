import { encodeModel } from "../../src/onnx/encode.ts";
import { DTYPE_CODES, type DType, type OnnxAttribute, type OnnxModel, type OnnxNode } from "../../src/onnx/model.ts";
import { float32Initializer } from "./onnx.ts";
import { randomArray } from "./random-array.ts";

export interface ForeignOptions {
  readonly kind: "maps" | "vector" | "tokens";
  readonly layout: "NCHW" | "NHWC";
  readonly side: number;
  readonly channels: number;
  readonly opset?: number;
  /** Names that the file uses; default: those that our own files use, so that they would collide. */
  readonly names?: { readonly input: string; readonly output: string; readonly between: string };
  readonly dtype?: "float32" | "float16";
  /** First dimension of the input. */
  readonly batch?: number | string;
  /** What the input says of its sides; default: the side. */
  readonly declaredSide?: number | string;
  /** A second output, with scores of classes. */
  readonly scores?: boolean;
}

/** Step of the convolution: maps are this many times smaller than the pictures. */
const foreignStride = 4;
const collidingNames = { input: "images", output: "features", between: "logits" } as const;

/**
 * A small network as another program would write it: an 8x8 convolution with random weights in steps of four, and ReLU. Maps are its
 * result, a vector is their mean, and tokens are the maps with the mean as the first of them.
 */
export function foreignModel(options: ForeignOptions): OnnxModel {
  const { kind, layout, side, channels, opset = 17, names = collidingNames, dtype = "float32", batch = "batch" } = options;
  const nodes: OnnxNode[] = [];
  const node = (op: string, inputs: string[], output: string, attributes: Record<string, OnnxAttribute> = {}): string => {
    nodes.push({ name: `${op}_${nodes.length}`, op, domain: "", inputs, outputs: [output], attributes });
    return output;
  };
  const ints = (...value: number[]): OnnxAttribute => ({ kind: "ints", value });
  const floats = dtype === "float16" ? node("Cast", [names.input], "%0", { to: { kind: "int", value: DTYPE_CODES.float32 } }) : names.input;
  const planes = layout === "NHWC" ? node("Transpose", [floats], "planes", { perm: ints(0, 3, 1, 2) }) : floats;
  const pads = ints(2, 2, 2, 2);
  const conv = node("Conv", [planes, "%c0", "bias"], names.between, { strides: ints(foreignStride, foreignStride), pads });
  const size = side / foreignStride;
  const last = kind === "maps" && layout === "NCHW" ? names.output : "serval/maps";
  const maps = node("Relu", [conv], last);
  const mean = kind === "maps" ? "" : node("GlobalAveragePool", [maps], "mean");
  const shapes = {
    maps: layout === "NCHW" ? [channels, size, size] : [size, size, channels],
    vector: [channels],
    tokens: [size * size + 1, channels],
  };
  if (kind === "maps" && layout === "NHWC") node("Transpose", [maps], names.output, { perm: ints(0, 2, 3, 1) });
  if (kind === "vector") node("Flatten", [mean], names.output);
  if (kind === "tokens") {
    const flat = [node("Reshape", [mean, "columns"], "first"), node("Reshape", [maps, "columns"], "others")];
    node("Transpose", [node("Concat", flat, "all", { axis: { kind: "int", value: 2 } })], names.output, { perm: ints(0, 2, 1) });
  }
  if (options.scores) node("Softmax", [node("Flatten", [node("GlobalMaxPool", [maps], "largest")], "flat")], "scores");
  const width: DType = dtype;
  const declared = options.declaredSide ?? side;
  return {
    irVersion: 8,
    producer: "another program",
    graphName: "foreign",
    opsets: { "": opset },
    nodes,
    initializers: [
      float32Initializer("%c0", [channels, 3, 8, 8], Float32Array.from(randomArray(channels * 192, 5, -0.1, 0.1))),
      float32Initializer("bias", [channels], Float32Array.from(randomArray(channels, 6, -0.2, 0.2))),
      { name: "columns", dtype: "int64", shape: [3], bytes: new Uint8Array(BigInt64Array.of(0n, BigInt(channels), -1n).buffer) },
    ],
    inputs: [
      { name: names.input, dtype: width, shape: layout === "NCHW" ? [batch, 3, declared, declared] : [batch, declared, declared, 3] },
    ],
    outputs: [
      { name: names.output, dtype: "float32", shape: [batch, ...shapes[kind]] },
      ...(options.scores ? [{ name: "scores", dtype: "float32", shape: [batch, channels] } as const] : []),
    ],
    metadata: {},
  };
}

export function foreignFile(options: ForeignOptions): Uint8Array {
  return encodeModel(foreignModel(options));
}
