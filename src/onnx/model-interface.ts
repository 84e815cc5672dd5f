import { ProtobufReader } from "./protobuf.ts";

/** What an ONNX file says of an input or output. */
export interface TensorInterface {
  readonly name: string;
  /** TensorProto.DataType; 1 is float32, 10 is float16. */
  readonly type: number;
  /** A number, the name of a size that is open, or null where nothing is said of it. */
  readonly shape: readonly (number | string | null)[];
}

export interface ModelInterface {
  readonly irVersion: number;
  /** Version of the standard operators; 0 where the file does not say. */
  readonly opset: number;
  /** What has to be fed: inputs without a value in the file. */
  readonly inputs: readonly TensorInterface[];
  readonly outputs: readonly TensorInterface[];
  /** Numbers in the constants of the graph that are not whole ones. */
  readonly parameterCount: number;
}

const longestName = 4096;
const mostDimensions = 64;
/** float, float16, double and bfloat16. */
const floatTypes: ReadonlySet<number> = new Set([1, 10, 11, 16]);

/**
 * Reads what goes into a model and comes out of it, without a copy of its weights. `checkModel` has to have passed. Field numbers:
 * onnx/onnx, onnx/onnx.proto3, IR version 13.
 */
export function readInterface(bytes: Uint8Array): ModelInterface {
  const model = new ProtobufReader(bytes);
  let [irVersion, opset, parameterCount] = [0, 0, 0];
  const [inputs, outputs]: [TensorInterface[], TensorInterface[]] = [[], []];
  const constants = new Set<string>();
  while (model.next()) {
    if (model.field === 1) irVersion = model.number();
    else if (model.field === 8) opset = Math.max(opset, readStandardOpset(model.message()));
    else if (model.field === 7) {
      const graph = model.message();
      while (graph.next()) {
        if (graph.field === 5) {
          const { name, elements } = readConstant(graph.message());
          constants.add(name);
          parameterCount += elements;
        } else if (graph.field === 11) inputs.push(readTensorInterface(graph.message()));
        else if (graph.field === 12) outputs.push(readTensorInterface(graph.message()));
        else graph.skip();
      }
    } else model.skip();
  }
  return { irVersion, opset, inputs: inputs.filter(({ name }) => !constants.has(name)), outputs, parameterCount };
}

/** As `[N, 3, 224, 224]`. */
export function describeShape(shape: TensorInterface["shape"]): string {
  return `[${shape.map((size) => size ?? "?").join(", ")}]`;
}

function readStandardOpset(entry: ProtobufReader): number {
  let [domain, version] = ["", 0];
  while (entry.next()) {
    if (entry.field === 1) domain = entry.text();
    else if (entry.field === 2) version = entry.number();
    else entry.skip();
  }
  return domain === "" || domain === "ai.onnx" ? version : 0;
}

function readConstant(tensor: ProtobufReader): { name: string; elements: number } {
  let [name, type, elements] = ["", 0, 1];
  while (tensor.next()) {
    if (tensor.field === 1) elements *= tensor.numbers(mostDimensions).reduce((product, size) => product * size, 1);
    else if (tensor.field === 2) type = tensor.number();
    else if (tensor.field === 8) name = tensor.text(longestName);
    else tensor.skip();
  }
  return { name, elements: floatTypes.has(type) ? elements : 0 };
}

/** ValueInfoProto { name 1, type 2 { tensor_type 1 { elem_type 1, shape 2 { dim 1 { dim_value 1, dim_param 2 } } } } }. */
function readTensorInterface(info: ProtobufReader): TensorInterface {
  let [name, type] = ["", 0];
  let shape: (number | string | null)[] = [];
  while (info.next()) {
    if (info.field === 1) name = info.text(longestName);
    else if (info.field === 2) {
      for (const tensor of messages(info.message(), 1)) {
        while (tensor.next()) {
          if (tensor.field === 1) type = tensor.number();
          else if (tensor.field === 2) shape = messages(tensor.message(), 1).map(readDimension);
          else tensor.skip();
        }
      }
    } else info.skip();
  }
  return { name, type, shape };
}

function readDimension(dimension: ProtobufReader): number | string | null {
  let size: number | string | null = null;
  while (dimension.next()) {
    if (dimension.field === 1) size = knownSize(dimension.number());
    else if (dimension.field === 2) size = dimension.text(longestName);
    else dimension.skip();
  }
  return size;
}

function messages(parent: ProtobufReader, field: number): ProtobufReader[] {
  const found: ProtobufReader[] = [];
  while (parent.next()) {
    if (parent.field === field) found.push(parent.message());
    else parent.skip();
  }
  return found;
}

/** Some writers say -1, a huge number here, where a size is open. */
function knownSize(size: number): number | null {
  return size > 0 && size < 2 ** 31 ? size : null;
}
