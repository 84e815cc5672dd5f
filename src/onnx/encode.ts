import { DTYPE_CODES, type OnnxAttribute, type OnnxModel, type OnnxNode, type OnnxValueInfo } from "./model.ts";
import { ProtobufWriter } from "./protobuf.ts";

/** AttributeProto.AttributeType. */
const ATTRIBUTE_TYPES = { float: 1, int: 2, string: 3, floats: 6, ints: 7 } as const;

type OnnxTensors = Pick<OnnxModel, "initializers" | "inputs" | "outputs">;

/** Serialises a model to the bytes of an .onnx file. Deterministic: equal models give equal bytes. */
export function encodeModel(model: OnnxModel): Uint8Array {
  const writer = new ProtobufWriter().int(1, model.irVersion).string(2, model.producer);
  writer.message(7, (graph) => {
    writeNodes(graph, model.nodes);
    graph.string(2, model.graphName);
    writeTensors(graph, model);
  });
  for (const [domain, version] of Object.entries(model.opsets)) {
    writer.message(8, (out) => {
      if (domain) out.string(1, domain);
      out.int(2, version);
    });
  }
  writeMetadata(writer, model.metadata);
  return writer.finish();
}

/** The fields of a graph that say what is computed. */
export function writeNodes(graph: ProtobufWriter, nodes: readonly OnnxNode[]): void {
  for (const node of nodes) {
    graph.message(1, (out) => {
      for (const input of node.inputs) out.string(1, input);
      for (const output of node.outputs) out.string(2, output);
      out.string(3, node.name).string(4, node.op);
      for (const [name, attribute] of Object.entries(node.attributes)) out.message(5, (inner) => writeAttribute(inner, name, attribute));
      if (node.domain) out.string(7, node.domain);
    });
  }
}

/** The fields of a graph that say what goes in and comes out, and its constants. */
export function writeTensors(graph: ProtobufWriter, { initializers, inputs, outputs }: OnnxTensors): void {
  for (const tensor of initializers) {
    graph.message(5, (out) => {
      for (const size of tensor.shape) out.int(1, size);
      out.int(2, DTYPE_CODES[tensor.dtype]).string(8, tensor.name).bytes(9, tensor.bytes);
    });
  }
  for (const input of inputs) graph.message(11, (out) => writeValueInfo(out, input));
  for (const output of outputs) graph.message(12, (out) => writeValueInfo(out, output));
}

export function writeMetadata(model: ProtobufWriter, metadata: Readonly<Record<string, string>>): void {
  for (const [key, value] of Object.entries(metadata)) model.message(14, (out) => out.string(1, key).string(2, value));
}

function writeAttribute(out: ProtobufWriter, name: string, attribute: OnnxAttribute): void {
  out.string(1, name);
  switch (attribute.kind) {
    case "float":
      out.float(2, attribute.value);
      break;
    case "int":
      out.int(3, attribute.value);
      break;
    case "string":
      out.string(4, attribute.value);
      break;
    case "floats":
      for (const value of attribute.value) out.float(7, value);
      break;
    case "ints":
      for (const value of attribute.value) out.int(8, value);
      break;
  }
  out.int(20, ATTRIBUTE_TYPES[attribute.kind]);
}

function writeValueInfo(out: ProtobufWriter, info: OnnxValueInfo): void {
  out.string(1, info.name).message(2, (type) =>
    type.message(1, (tensor) => {
      tensor.int(1, DTYPE_CODES[info.dtype]).message(2, (shape) => {
        for (const size of info.shape) shape.message(1, (dim) => (typeof size === "string" ? dim.string(2, size) : dim.int(1, size)));
      });
    }),
  );
}
