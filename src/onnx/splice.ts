import { writeMetadata, writeNodes, writeTensors } from "./encode.ts";
import type { OnnxModel } from "./model.ts";
import { readInterface } from "./model-interface.ts";
import { ProtobufReader, ProtobufWriter } from "./protobuf.ts";

export interface Splice {
  /** Bytes of the model in the middle. `checkModel` has to have passed. */
  readonly inner: Uint8Array;
  /** The inner model's input that gets what `before` makes. */
  readonly input: string;
  /** The inner model's output that `after` gets. */
  readonly output: string;
  /** Its only output goes into the inner model. */
  readonly before: OnnxModel;
  /** Its only input is the inner model's output. */
  readonly after: OnnxModel;
  readonly graphName: string;
  readonly metadata: Readonly<Record<string, string>>;
}

const longestName = 4096;
/** From this version of the format on, constants do not have to be among the inputs. */
const oldestIrVersion = 4;

/**
 * One ONNX file out of three: the inputs of `before`, the outputs of `after`, and a model of another writer between them. Its bytes are
 * taken over as they are, so its weights are neither decoded nor copied twice; only names that ours would collide with are changed.
 * The operators of `before` and `after` run at the operator set version of the inner model: they must mean the same in all of them.
 */
export function spliceModels({ inner, input, output, before, after, graphName, metadata }: Splice): Uint8Array {
  const taken = collectNames(new ProtobufReader(inner));
  const prefix = freshPrefix(taken);
  const exposed = [...before.inputs, ...after.outputs].map(({ name }) => name);
  const renames = new Map(exposed.filter((name) => taken.has(name)).map((name) => [name, `${prefix}inner/${name}`]));
  const innerName = (name: string): string => renames.get(name) ?? name;
  const head = renameModel(before, `${prefix}before/`, { [before.outputs[0]?.name ?? ""]: innerName(input) });
  const tail = renameModel(after, `${prefix}after/`, { [after.inputs[0]?.name ?? ""]: innerName(output) });

  const model = new ProtobufReader(inner);
  const rest: Uint8Array[] = [];
  let graph: Uint8Array[] = [];
  while (model.next()) {
    if (model.field === 7) graph = rewriteGraph(model.message(), renames, true);
    else {
      model.skip();
      // The operator sets. The names of the model's author and its notes do not describe this model.
      if (model.field === 8) rest.push(model.wholeField);
    }
  }
  const tensors = {
    initializers: [...head.initializers, ...tail.initializers],
    inputs: head.inputs,
    outputs: tail.outputs,
  };
  const parts = [
    written((out) => writeNodes(out, head.nodes)),
    ...graph,
    written((out) => {
      writeNodes(out, tail.nodes);
      out.string(2, graphName);
      writeTensors(out, tensors);
    }),
  ];
  const irVersion = Math.max(oldestIrVersion, readInterface(inner).irVersion);
  return concatenate([
    written((out) => out.int(1, irVersion).string(2, "serval")),
    written((out) => out.tag(7, lengthOf(parts))),
    ...parts,
    ...rest,
    written((out) => writeMetadata(out, metadata)),
  ]);
}

function written(write: (out: ProtobufWriter) => void): Uint8Array {
  const out = new ProtobufWriter();
  write(out);
  // The writer's own memory is larger.
  return out.finish().slice();
}

function lengthOf(parts: readonly Uint8Array[]): number {
  return parts.reduce((sum, part) => sum + part.length, 0);
}

function concatenate(parts: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(lengthOf(parts));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

/** The same model under other names: those that `names` gives, and a prefix for the ones that the builder made up. */
function renameModel(model: OnnxModel, prefix: string, names: Readonly<Record<string, string>>): OnnxModel {
  const rename = (name: string): string => names[name] ?? (name.startsWith("%") ? `${prefix}${name}` : name);
  return {
    ...model,
    nodes: model.nodes.map((node) => ({
      ...node,
      name: `${prefix}${node.name}`,
      inputs: node.inputs.map(rename),
      outputs: node.outputs.map(rename),
    })),
    initializers: model.initializers.map((tensor) => ({ ...tensor, name: rename(tensor.name) })),
  };
}

/** A prefix that no name begins with. */
function freshPrefix(taken: ReadonlySet<string>): string {
  for (let count = 1; ; count++) {
    const prefix = count === 1 ? "serval/" : `serval${count}/`;
    if (![...taken].some((name) => name.startsWith(prefix))) return prefix;
  }
}

/** The names of all values and nodes, in graphs inside nodes as well. */
function collectNames(model: ProtobufReader): Set<string> {
  const names = new Set<string>();
  const readGraph = (graph: ProtobufReader): void => {
    while (graph.next()) {
      if (graph.field === 1) readNode(graph.message());
      else if (graph.field === 5) names.add(readName(graph.message(), 8));
      else if (graph.field === 11 || graph.field === 12) names.add(readName(graph.message(), 1));
      else graph.skip();
    }
  };
  const readNode = (node: ProtobufReader): void => {
    while (node.next()) {
      if (node.field <= 3) names.add(node.text(longestName));
      else if (node.field === 5) eachGraph(node.message(), readGraph);
      else node.skip();
    }
  };
  while (model.next()) {
    if (model.field === 7) readGraph(model.message());
    else model.skip();
  }
  return names;
}

/** Calls `visit` for each graph that an attribute holds. */
function eachGraph(attribute: ProtobufReader, visit: (graph: ProtobufReader) => void): void {
  while (attribute.next()) {
    if (attribute.field === 6 || attribute.field === 11) visit(attribute.message());
    else attribute.skip();
  }
}

function readName(message: ProtobufReader, field: number): string {
  let name = "";
  while (message.next()) {
    if (message.field === field) name = message.text(longestName);
    else message.skip();
  }
  return name;
}

type Renames = ReadonlyMap<string, string>;

/** The fields of a graph under new names, most of them as views of the bytes that they were. The outermost graph gets inputs and outputs of ours. */
function rewriteGraph(graph: ProtobufReader, renames: Renames, outermost: boolean): Uint8Array[] {
  const parts: Uint8Array[] = [];
  while (graph.next()) {
    const { field } = graph;
    // 1 nodes, 5 constants, 13 shapes of values between; 2 name, 10 description, 11 inputs, 12 outputs.
    if (outermost && [2, 10, 11, 12].includes(field)) graph.skip();
    else if (renames.size === 0 || ![1, 5, 11, 12, 13].includes(field)) {
      graph.skip();
      parts.push(graph.wholeField);
    } else {
      const message = graph.message();
      parts.push(...wrap(field, field === 1 ? rewriteNode(message, renames) : rewriteName(message, field === 5 ? 8 : 1, renames)));
    }
  }
  return parts;
}

function rewriteNode(node: ProtobufReader, renames: Renames): Uint8Array[] {
  const parts: Uint8Array[] = [];
  while (node.next()) {
    if (node.field === 1 || node.field === 2) parts.push(renamed(node, renames));
    else if (node.field === 5) parts.push(...wrap(5, rewriteAttribute(node.message(), renames)));
    else {
      node.skip();
      parts.push(node.wholeField);
    }
  }
  return parts;
}

function rewriteAttribute(attribute: ProtobufReader, renames: Renames): Uint8Array[] {
  const parts: Uint8Array[] = [];
  while (attribute.next()) {
    const { field } = attribute;
    if (field === 6 || field === 11) parts.push(...wrap(field, rewriteGraph(attribute.message(), renames, false)));
    else {
      attribute.skip();
      parts.push(attribute.wholeField);
    }
  }
  return parts;
}

/** A message whose field of that number is a name. */
function rewriteName(message: ProtobufReader, nameField: number, renames: Renames): Uint8Array[] {
  const parts: Uint8Array[] = [];
  while (message.next()) {
    if (message.field === nameField) parts.push(renamed(message, renames));
    else {
      message.skip();
      parts.push(message.wholeField);
    }
  }
  return parts;
}

function renamed(message: ProtobufReader, renames: Renames): Uint8Array {
  const { field } = message;
  const other = renames.get(message.text(longestName));
  return other === undefined ? message.wholeField : written((out) => out.string(field, other));
}

function wrap(field: number, parts: readonly Uint8Array[]): Uint8Array[] {
  return [written((out) => out.tag(field, lengthOf(parts))), ...parts];
}
