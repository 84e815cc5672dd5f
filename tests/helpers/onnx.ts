import type { OnnxInitializer } from "../../src/onnx/model.ts";

export function float32Initializer(name: string, shape: readonly number[], values: Float32Array): OnnxInitializer {
  return { name, dtype: "float32", shape, bytes: new Uint8Array(values.buffer, values.byteOffset, values.byteLength) };
}

export interface ProtobufField {
  readonly number: number;
  /** 0 varint, 1 64-bit, 2 length-delimited, 5 32-bit. */
  readonly wireType: number;
  /** The varint's value; 0 for other wire types. */
  readonly varint: bigint;
  /** The payload of wire types 1, 2 and 5. */
  readonly bytes: Uint8Array;
}

/** Iterates over the fields of one message. Throws RangeError on a truncated or malformed message. */
export function* readFields(message: Uint8Array): Generator<ProtobufField> {
  let at = 0;
  const varint = (): bigint => {
    let value = 0n;
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const byte = message[at++];
      if (byte === undefined) throw new RangeError("varint runs past the end of the message");
      value |= BigInt(byte & 127) << shift;
      if (byte < 128) return BigInt.asUintN(64, value);
    }
    throw new RangeError("varint is longer than ten bytes");
  };
  const take = (count: number): Uint8Array => {
    if (at + count > message.length) throw new RangeError(`field of ${count} bytes runs past the end of the message`);
    at += count;
    return message.subarray(at - count, at);
  };
  const none = new Uint8Array(0);
  while (at < message.length) {
    const key = Number(varint());
    const wireType = key & 7;
    const number = key >>> 3;
    if (wireType === 0) yield { number, wireType, varint: varint(), bytes: none };
    else if (wireType === 1) yield { number, wireType, varint: 0n, bytes: take(8) };
    else if (wireType === 2) yield { number, wireType, varint: 0n, bytes: take(Number(varint())) };
    else if (wireType === 5) yield { number, wireType, varint: 0n, bytes: take(4) };
    else throw new RangeError(`wire type ${wireType} is not known`);
  }
}
