/**
 * The part of the ONNX intermediate representation that Serval reads and writes, as plain data.
 * Source: onnx.proto3, IR version 8 (github.com/onnx/onnx, onnx/onnx.proto3).
 */
export type DType = "float32" | "float16" | "uint8" | "int32" | "int64" | "bool";

/** TensorProto.DataType of each element type. */
export const DTYPE_CODES: Readonly<Record<DType, number>> = { float32: 1, uint8: 2, int32: 6, int64: 7, bool: 9, float16: 10 };

/** Attributes carry their kind, because a whole number can be an int or a float attribute. */
export type OnnxAttribute =
  | { readonly kind: "int"; readonly value: number }
  | { readonly kind: "float"; readonly value: number }
  | { readonly kind: "string"; readonly value: string }
  | { readonly kind: "ints"; readonly value: readonly number[] }
  | { readonly kind: "floats"; readonly value: readonly number[] };

export interface OnnxNode {
  readonly name: string;
  readonly op: string;
  /** "" is the standard operator set. */
  readonly domain: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly attributes: Readonly<Record<string, OnnxAttribute>>;
}

export interface OnnxValueInfo {
  readonly name: string;
  readonly dtype: DType;
  /** A string is a symbolic dimension such as "N". */
  readonly shape: readonly (number | string)[];
}

export interface OnnxInitializer {
  readonly name: string;
  readonly dtype: DType;
  readonly shape: readonly number[];
  /** Little-endian, row-major. */
  readonly bytes: Uint8Array;
}

export interface OnnxModel {
  readonly irVersion: number;
  readonly producer: string;
  readonly graphName: string;
  /** Operator set version by domain. */
  readonly opsets: Readonly<Record<string, number>>;
  readonly nodes: readonly OnnxNode[];
  readonly initializers: readonly OnnxInitializer[];
  readonly inputs: readonly OnnxValueInfo[];
  readonly outputs: readonly OnnxValueInfo[];
  readonly metadata: Readonly<Record<string, string>>;
}
