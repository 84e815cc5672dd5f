import { ServalError } from "../errors/serval-error.ts";
import { DTYPE_CODES } from "../onnx/model.ts";
import { describeShape, readInterface, type ModelInterface, type TensorInterface } from "../onnx/model-interface.ts";
import type { OnnxFeatures } from "./backbone-record.ts";
import { checkOnnxFile } from "./weights-file.ts";

/** What a person says of an ONNX file; what is missing is read from the file. */
export interface OnnxFlags {
  readonly side?: number | undefined;
  readonly layout?: OnnxFeatures["layout"] | undefined;
  readonly output?: string | undefined;
}

const oldestOpset = 11;
const floatTypes: readonly number[] = [DTYPE_CODES.float32, DTYPE_CODES.float16];
/** By the number of dimensions. */
const kinds: Readonly<Record<number, OnnxFeatures["kind"]>> = { 2: "vector", 3: "tokens", 4: "maps" };

/**
 * How an ONNX file takes pictures and gives features; how many channels they have is known when it has run. Throws E_MODEL_UNSAFE,
 * E_BACKBONE_UNFIT, and E_USAGE where something has to be said that the file does not say.
 */
export function describeOnnx(bytes: Uint8Array, path: string, flags: OnnxFlags): Omit<OnnxFeatures, "channels"> {
  checkOnnxFile(bytes, path);
  const model = readInterface(bytes);
  const refuse = (what: string): never => {
    throw new ServalError("E_BACKBONE_UNFIT", `${path}: ${what}.`, { details: { file: path } });
  };
  if (model.opset < oldestOpset) refuse(`expected operator set ${oldestOpset} or newer, got ${model.opset}`);
  const [input] = model.inputs;
  if (!input || model.inputs.length > 1) return refuse(`expected one input, the pictures, got ${listTensors(model.inputs)}`);
  const where = `input ${input.name} ${describeShape(input.shape)}`;
  if (!floatTypes.includes(input.type)) refuse(`${where}: expected float32 or float16, got the type ${input.type}`);
  if (input.shape.length !== 4) refuse(`${where}: expected four dimensions, [N, 3, height, width] or [N, height, width, 3]`);
  if (typeof input.shape[0] === "number") {
    refuse(`${where}: expected an open number of pictures, got ${input.shape[0]}; export it with a dynamic first dimension`);
  }
  const layout = flags.layout ?? (input.shape[3] === 3 && input.shape[1] !== 3 ? "NHWC" : "NCHW");
  const colours = input.shape[layout === "NCHW" ? 1 : 3];
  if (typeof colours === "number" && colours !== 3) refuse(`${where}: expected 3 colours in the layout ${layout}, got ${colours}`);
  const output = chooseOutput(model, flags.output, path);
  return {
    input: input.name,
    layout,
    dtype: input.type === DTYPE_CODES.float16 ? "float16" : "float32",
    output: output.name,
    kind: kinds[output.shape.length] as OnnxFeatures["kind"],
    side: chooseSide(input, layout, flags.side, path),
  };
}

function chooseOutput({ outputs }: ModelInterface, wanted: string | undefined, path: string): TensorInterface {
  const usable = outputs.filter(({ type, shape }) => floatTypes.includes(type) && kinds[shape.length] !== undefined);
  const named = wanted === undefined ? usable : usable.filter(({ name }) => name === wanted);
  const [output] = named;
  if (output && named.length === 1) return output;
  if (usable.length === 0) {
    const expected = "float32 or float16 [N, C], [N, T, C] or [N, C, h, w]";
    throw new ServalError("E_BACKBONE_UNFIT", `${path}: expected an output with features, ${expected}, got ${listTensors(outputs)}.`);
  }
  const got = wanted === undefined ? "several" : JSON.stringify(wanted);
  throw new ServalError("E_USAGE", `--output: expected one of ${listTensors(usable)}, got ${got}.`, {
    hint: "Name the output that holds the features, not one with logits or probabilities of classes.",
  });
}

function chooseSide(input: TensorInterface, layout: OnnxFeatures["layout"], wanted: number | undefined, path: string): number {
  const [height, width] = layout === "NCHW" ? input.shape.slice(2) : input.shape.slice(1, 3);
  for (const size of [height, width]) {
    if (typeof size !== "number" || wanted === undefined || size === wanted) continue;
    throw new ServalError("E_USAGE", `--side: ${path} takes pictures of ${String(width)}x${String(height)} pixels, got ${wanted}.`);
  }
  if (typeof height === "number" && typeof width === "number" && height !== width) {
    throw new ServalError("E_BACKBONE_UNFIT", `${path}: expected square pictures, got ${width}x${height}.`);
  }
  const side = wanted ?? (typeof height === "number" ? height : undefined);
  if (side !== undefined) return side;
  throw new ServalError("E_USAGE", `--side is missing: ${path} takes pictures of any size.`, {
    hint: "Name the side in pixels of the pictures that the network was trained with, such as --side 224.",
  });
}

function listTensors(tensors: readonly TensorInterface[]): string {
  return tensors.length === 0 ? "none" : tensors.map(({ name, shape }) => `${name} ${describeShape(shape)}`).join(", ");
}
