import { ServalError } from "../errors/serval-error.ts";
import {
  DTYPE_CODES,
  type DType,
  type OnnxAttribute,
  type OnnxInitializer,
  type OnnxModel,
  type OnnxNode,
  type OnnxValueInfo,
} from "./model.ts";

/** Domain of ONNX Runtime's own operators (FusedMatMul). */
export const MS_DOMAIN = "com.microsoft";
/** Domain of MLAS's blocked-layout operators; internal to ONNX Runtime, so probed before use. */
export const NCHWC_DOMAIN = "com.microsoft.nchwc";
const OPSET = 17;

/**
 * A value while a graph is being emitted. `shape` is always the logical one ([N,C,H,W] for maps). "blocked" means that
 * memory holds [N, C/B, H, W, B] with B channels a block, zeros behind the last channel where C is not a multiple of B; every other value is
 * plain row-major.
 */
export interface Emitted {
  readonly name: string;
  readonly shape: readonly number[];
  readonly layout: "plain" | "blocked";
  readonly dtype: DType;
}

/** The shape of maps, [N,C,H,W], or of a convolution's weight, [O,C,K,K]. */
export type Map4 = [number, number, number, number];

/** Short forms of attributes: an integer, integers, a string, or explicit floats. */
export type AttributeValue = number | readonly number[] | string | { readonly float: number } | { readonly floats: readonly number[] };

export interface NodeOptions {
  readonly domain?: string;
  readonly attributes?: Readonly<Record<string, AttributeValue>>;
  readonly layout?: "plain" | "blocked";
  readonly dtype?: DType;
}

export function elementCount(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}

export function sameShape(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((size, axis) => size === b[axis]);
}

function toAttribute(value: AttributeValue): OnnxAttribute {
  if (typeof value === "number") return { kind: "int", value };
  if (typeof value === "string") return { kind: "string", value };
  if ("float" in value) return { kind: "float", value: value.float };
  if ("floats" in value) return { kind: "floats", value: value.floats };
  return { kind: "ints", value };
}

/**
 * Emits ONNX nodes one after the other. Names that it makes start with "%", so they never collide with the names of
 * graph inputs and outputs, which must not.
 */
export class OnnxBuilder {
  /** Channels per block of the blocked layout; 0 where only standard operators may be used. */
  readonly blockSize: number;
  readonly #nodes: OnnxNode[] = [];
  readonly #initializers: OnnxInitializer[] = [];
  readonly #inputs: OnnxValueInfo[] = [];
  readonly #outputs: OnnxValueInfo[] = [];
  readonly #constants = new Map<string, Emitted>();
  readonly #relaid = new Map<string, Emitted>();
  readonly #outputNames = new Map<string, string>();
  #count = 0;

  constructor(blockSize: number) {
    this.blockSize = blockSize;
  }

  input(name: string, dtype: DType, shape: readonly (number | string)[], logical: readonly number[]): Emitted {
    if (name.startsWith("%")) throw new ServalError("E_GRAPH", `Input "${name}": names that start with % are reserved for the builder.`);
    this.#inputs.push({ name, dtype, shape });
    return { name, shape: logical, layout: "plain", dtype };
  }

  output(name: string, value: Emitted, shape: readonly (number | string)[] = value.shape): void {
    const { name: made } = this.plain(value);
    // What a node makes is made under the output's name, without a copy; inputs, constants and second outputs are copied.
    if (/^%\d/.test(made) && !this.#outputNames.has(made)) this.#outputNames.set(made, name);
    else this.#nodes.push({ name: `${name}=`, op: "Identity", domain: "", inputs: [made], outputs: [name], attributes: {} });
    this.#outputs.push({ name, dtype: value.dtype, shape });
  }

  node(op: string, inputs: readonly (Emitted | null)[], shape: readonly number[], options: NodeOptions = {}): Emitted {
    const name = `%${this.#count++}`;
    const attributes: Record<string, OnnxAttribute> = {};
    for (const [key, value] of Object.entries(options.attributes ?? {})) attributes[key] = toAttribute(value);
    const node = {
      name: `${op}${name}`,
      op,
      domain: options.domain ?? "",
      inputs: inputs.map((value) => value?.name ?? ""),
      outputs: [name],
      attributes,
    };
    this.#nodes.push(node);
    return { name, shape, layout: options.layout ?? "plain", dtype: options.dtype ?? "float32" };
  }

  /** A float constant. Small equal constants are stored once. */
  floats(values: Float32Array, shape: readonly number[] = [values.length]): Emitted {
    return this.#constant("float32", shape, new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
  }

  /** A float constant that the file holds with half as many bits; engines widen it once, when they load the model. */
  halves(values: Float32Array, shape: readonly number[]): Emitted {
    const stored = this.#constant("float16", shape, new Uint8Array(Float16Array.from(values).buffer));
    return this.node("Cast", [stored], shape, { attributes: { to: DTYPE_CODES.float32 } });
  }

  scalar(value: number): Emitted {
    return this.floats(Float32Array.of(value), []);
  }

  ints(...values: number[]): Emitted {
    return this.#constant("int64", [values.length], new Uint8Array(BigInt64Array.from(values, BigInt).buffer));
  }

  /** An int64 index without axes: Gather takes the axis away with it. */
  index(value: number): Emitted {
    return this.#constant("int64", [], new Uint8Array(BigInt64Array.of(BigInt(value)).buffer));
  }

  /** int32 indices for Gather. */
  indices(values: Int32Array): Emitted {
    return this.#constant("int32", [values.length], new Uint8Array(values.buffer));
  }

  #constant(dtype: DType, shape: readonly number[], bytes: Uint8Array): Emitted {
    const key = bytes.length <= 512 ? `${dtype} ${shape.join()} ${bytes.join()}` : "";
    const known = this.#constants.get(key);
    if (known) return known;
    const value: Emitted = { name: `%c${this.#initializers.length}`, shape, layout: "plain", dtype };
    this.#initializers.push({ name: value.name, dtype, shape, bytes });
    if (key) this.#constants.set(key, value);
    return value;
  }

  /** Reinterprets the memory of a value under another shape; free in ONNX Runtime. */
  reshape(value: Emitted, shape: readonly number[]): Emitted {
    if (value.layout === "plain" && sameShape(value.shape, shape)) return value;
    return this.node("Reshape", [value, this.ints(...shape)], shape, { dtype: value.dtype });
  }

  /** Gives memory that holds [N, C/B, H, W, B] back its logical shape. */
  asBlocked(value: Emitted, shape: readonly number[]): Emitted {
    return { ...this.reshape({ ...value, layout: "plain" }, shape), layout: "blocked" };
  }

  transpose(value: Emitted, perm: readonly number[]): Emitted {
    return this.node(
      "Transpose",
      [value],
      perm.map((axis) => value.shape[axis] as number),
      { attributes: { perm }, dtype: value.dtype },
    );
  }

  /** The value in plain row-major layout. Reorders are emitted once a value. */
  plain(value: Emitted): Emitted {
    if (value.layout === "plain") return value;
    return this.once(`plain ${value.name}`, () =>
      this.node("ReorderOutput", [value], value.shape, { domain: NCHWC_DOMAIN, attributes: { channels: value.shape[1] as number } }),
    );
  }

  /** The value in blocked layout; its channels must be a multiple of the block size, or of four. */
  blocked(value: Emitted): Emitted {
    if (value.layout === "blocked") return value;
    return this.once(`blocked ${value.name}`, () =>
      this.node("ReorderInput", [value], value.shape, { domain: NCHWC_DOMAIN, layout: "blocked" }),
    );
  }

  /** The value as [N,H,W,C]. */
  channelsLast(value: Emitted): Emitted {
    const [n, c, h, w] = value.shape as Map4;
    return this.once(`last ${value.name}`, () =>
      value.layout === "blocked"
        ? this.node("ReorderOutput", [value], [n, h, w, c], { domain: NCHWC_DOMAIN, attributes: { channels: c, channels_last: 1 } })
        : this.transpose(value, [0, 2, 3, 1]),
    );
  }

  /** The value that `emit` made when it was first asked for under this key. */
  once(key: string, emit: () => Emitted): Emitted {
    const known = this.#relaid.get(key);
    if (known) return known;
    const made = emit();
    this.#relaid.set(key, made);
    return made;
  }

  finish(graphName: string, metadata: Readonly<Record<string, string>> = {}): OnnxModel {
    const domains = new Set(this.#nodes.map((node) => node.domain));
    const opsets: Record<string, number> = { "": OPSET };
    const final = (name: string): string => this.#outputNames.get(name) ?? name;
    for (const domain of [...domains].sort()) if (domain) opsets[domain] = 1;
    return {
      irVersion: 8,
      producer: "serval",
      graphName,
      opsets,
      nodes: this.#nodes.map((node) => ({ ...node, inputs: node.inputs.map(final), outputs: node.outputs.map(final) })),
      initializers: this.#initializers,
      inputs: this.#inputs,
      outputs: this.#outputs,
      metadata,
    };
  }
}
