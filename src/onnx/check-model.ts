import { ServalError } from "../errors/serval-error.ts";
import { ProtobufProblem, ProtobufReader } from "./protobuf.ts";

/** A model is read by a library that follows what it says. Serval's own have some hundred nodes, and no graph inside another. */
const limits = {
  /** Protocol Buffers go no further. */
  bytes: 2 ** 31 - 1,
  nodes: 50_000,
  tensors: 100_000,
  /** Graphs inside nodes (If, Loop, Scan), in all and inside each other. */
  graphs: 100,
  depth: 4,
  /** Dimensions of a tensor. */
  rank: 64,
} as const;

/** Bits of an element in `raw_data`: TensorProto.DataType by size. Texts (8) cannot be there. */
const typesBySize: readonly (readonly [bits: number, types: readonly number[]])[] = [
  [2, [25, 26]],
  [4, [21, 22, 23]],
  [8, [2, 3, 9, 17, 18, 19, 20, 24]],
  [16, [4, 5, 10, 16]],
  [32, [1, 6, 12]],
  [64, [7, 11, 13, 14]],
  [128, [15]],
];

/**
 * Looks into the bytes of an ONNX file before the engine does. Throws E_MODEL_UNSAFE, which names what it found, where the
 * file reads other files (external data), brings custom operators or functions, nests graphs, or claims more than it
 * holds; and E_ENGINE_MODEL for a damaged one. Takes no copy of the weights. Field numbers: onnx/onnx, onnx/onnx.proto3, IR version 13.
 */
export function checkModel(bytes: Uint8Array): void {
  try {
    new ModelCheck().model(bytes);
  } catch (error) {
    if (!(error instanceof ProtobufProblem)) throw error;
    throw new ServalError("E_ENGINE_MODEL", `The model was not loaded: the file is damaged, or is not ONNX (${error.text}).`);
  }
}

function unsafe(what: string): ServalError {
  return new ServalError("E_MODEL_UNSAFE", `The ONNX model was not loaded: ${what}.`);
}

class ModelCheck {
  #nodes = 0;
  #tensors = 0;
  #graphs = 0;

  model(bytes: Uint8Array): void {
    if (bytes.length > limits.bytes) throw unsafe(`it has ${bytes.length} bytes, more than ${limits.bytes}`);
    // The engine takes these for its own format, whatever else they are.
    if (bytes.length >= 8 && String.fromCharCode(...bytes.subarray(4, 8)) === "ORTM") throw unsafe("it is of ONNX Runtime's own format");
    const model = new ProtobufReader(bytes);
    let graphs = 0;
    while (model.next()) {
      if (model.field === 7) {
        this.#graph(model.message(), 0);
        graphs++;
      } else if (model.field === 14) this.#metadata(model.message());
      else if (model.field === 20) throw unsafe("it holds graphs for training");
      else if (model.field === 25) throw unsafe("it has custom functions; write their nodes into the graph instead");
      else model.skip();
    }
    if (graphs !== 1) throw unsafe(`the file holds ${graphs} graphs where one is expected`);
  }

  /** The engine can take its settings from the file. */
  #metadata(entry: ProtobufReader): void {
    while (entry.next()) {
      if (entry.field === 1 && entry.text() === "ort_config") throw unsafe("it brings settings for the engine (ort_config)");
      if (entry.field !== 1) entry.skip();
    }
  }

  #graph(graph: ProtobufReader, depth: number): void {
    if (depth > limits.depth) throw unsafe(`it has graphs more than ${limits.depth} deep inside each other`);
    if (++this.#graphs > limits.graphs + 1) throw unsafe(`it has more than ${limits.graphs} graphs inside nodes`);
    while (graph.next()) {
      if (graph.field === 1) this.#node(graph.message(), depth);
      else if (graph.field === 5) this.#tensor(graph.message());
      else if (graph.field === 15) throw unsafe("it has a sparse tensor, which can stand for any size");
      else graph.skip();
    }
  }

  #node(node: ProtobufReader, depth: number): void {
    if (++this.#nodes > limits.nodes) throw unsafe(`it has more than ${limits.nodes} nodes`);
    let [name, op, domain] = ["", "", ""];
    while (node.next()) {
      if (node.field === 3) name = node.text();
      else if (node.field === 4) op = node.text();
      else if (node.field === 5) this.#attribute(node.message(), depth);
      else if (node.field === 7) domain = node.text();
      else node.skip();
    }
    const known = domain === "" || domain === "ai.onnx" || domain === "com.microsoft" || domain.startsWith("com.microsoft.");
    const where = `the node ${JSON.stringify(name)} (${op})`;
    if (!known) throw unsafe(`${where} is an operator of ${JSON.stringify(domain)}; expected ai.onnx or com.microsoft`);
    // It holds, or names a file with, a program for another processor.
    if (op === "EPContext") throw unsafe(`${where} names a program outside the model`);
  }

  #attribute(attribute: ProtobufReader, depth: number): void {
    let [tensors, graphs] = [0, 0];
    while (attribute.next()) {
      const { field } = attribute;
      if (field === 5 || field === 10) {
        this.#tensor(attribute.message());
        if (field === 5 && ++tensors > 1) throw unsafe("an attribute has two tensors where one is expected");
      } else if (field === 6 || field === 11) {
        this.#graph(attribute.message(), depth + 1);
        if (field === 6 && ++graphs > 1) throw unsafe("an attribute has two graphs where one is expected");
      } else if (field === 22 || field === 23) throw unsafe("it has a sparse tensor, which can stand for any size");
      else attribute.skip();
    }
  }

  #tensor(tensor: ProtobufReader): void {
    if (++this.#tensors > limits.tensors) throw unsafe(`it has more than ${limits.tensors} tensors`);
    let [name, type, elements, bytes] = ["", 0, 1, 0];
    let raw: number | undefined;
    while (tensor.next()) {
      const { field } = tensor;
      if (field === 1) elements *= product(tensor.numbers(limits.rank));
      else if (field === 2) type = tensor.number();
      else if (field === 8) name = tensor.text();
      else if (field === 9) {
        if (raw !== undefined) throw unsafe(`the tensor ${JSON.stringify(name)} has two contents where one is expected`);
        raw = tensor.skip();
      } else if (field === 13 || field === 14) {
        // 14 says where the content lies: 0 is here.
        if (field === 13 || tensor.number() !== 0) throw unsafe(`the tensor ${JSON.stringify(name)} lies in another file`);
      } else if (isData(field)) bytes += tensor.isBytes ? tensor.skip() || 1 : tensor.skip();
      else tensor.skip();
    }
    const size = `the tensor ${JSON.stringify(name)} of ${elements} elements`;
    if (raw !== undefined) {
      const [bits] = typesBySize.find(([, types]) => types.includes(type)) ?? [];
      if (bits === undefined) throw unsafe(`${size} has the type ${type}, which cannot lie in bytes`);
      const expected = Math.ceil((elements * bits) / 8);
      if (raw !== expected) throw unsafe(`${size} would have ${expected} bytes, and the file has ${raw}`);
    } else if (!(elements <= bytes * 4)) throw unsafe(`${size} has ${bytes} bytes in the file`);
  }
}

/** Negative sizes come as huge numbers. */
function product(sizes: readonly number[]): number {
  return sizes.reduce((all, size) => all * (size < 2 ** 53 ? size : Number.NaN), 1);
}

/** Numbers or texts in separate fields, a quarter of a byte each at least: float, int32, text, int64, double, uint64. */
function isData(field: number): boolean {
  return [4, 5, 6, 7, 10, 11].includes(field);
}
