import { describe, expect, it } from "vitest";
import {
  encodeSafetensors,
  float16Safetensor,
  float32Safetensor,
  parseSafetensors,
  safetensorNumbers,
  type Safetensor,
} from "../../../src/model/safetensors.ts";

const ascii = (text: string): Uint8Array => new TextEncoder().encode(text);

/** A file with this header text and this many bytes of data, written by hand. */
function handmade(header: string, dataBytes: number): Uint8Array {
  const json = ascii(header);
  const file = new Uint8Array(8 + json.length + dataBytes);
  new DataView(file.buffer).setBigUint64(0, BigInt(json.length), true);
  file.set(json, 8);
  return file;
}

const entry = (begin: number, end: number): string => `{"dtype":"U8","shape":[${end - begin}],"data_offsets":[${begin},${end}]}`;

describe("encodeSafetensors", () => {
  it("writes exactly the bytes that the format's description asks for", () => {
    const file = encodeSafetensors({ b: float32Safetensor([2], Float32Array.of(1, -2)), a: float32Safetensor([], Float32Array.of(0.5)) });
    const header = '{"a":{"dtype":"F32","shape":[],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}';
    const padded = header.padEnd(Math.ceil(header.length / 8) * 8, " ");
    expect(new DataView(file.buffer).getBigUint64(0, true)).toBe(BigInt(padded.length));
    expect(new TextDecoder().decode(file.subarray(8, 8 + padded.length))).toBe(padded);
    expect([...file.subarray(8 + padded.length)]).toEqual([0, 0, 0, 0x3f, 0, 0, 0x80, 0x3f, 0, 0, 0, 0xc0]);
  });

  it("holds numbers as float16 in half the bytes, rounded to the nearest, and gives them back", () => {
    const file = encodeSafetensors({ a: float16Safetensor([3], Float32Array.of(1, -0.1, 70_000)) });
    const { tensors } = parseSafetensors(file);
    expect([...(tensors["a"] as Safetensor).data]).toEqual([0x00, 0x3c, 0x66, 0xae, 0x00, 0x7c]);
    expect([...safetensorNumbers("a", tensors["a"] as Safetensor)]).toEqual([1, -0.0999755859375, Infinity]);
    expect(() => safetensorNumbers("b", { dtype: "U8", shape: [1], data: Uint8Array.of(1) })).toThrow(
      'Tensor "b": got U8; expected F32 or F16.',
    );
  });

  it("gives the same bytes whatever order the names and metadata were given in", () => {
    const one = float32Safetensor([1], Float32Array.of(1));
    const two = float32Safetensor([1], Float32Array.of(2));
    const first = encodeSafetensors({ "conv.weight": one, "conv.bias": two }, { z: "1", a: "2" });
    const second = encodeSafetensors({ "conv.bias": two, "conv.weight": one }, { a: "2", z: "1" });
    expect(second).toEqual(first);
  });

  it("puts larger element types first, so that each tensor starts at a multiple of its element size", () => {
    const file = encodeSafetensors({
      a: { dtype: "U8", shape: [3], data: Uint8Array.of(1, 2, 3) },
      b: { dtype: "I64", shape: [1], data: new Uint8Array(8).fill(9) },
      c: float32Safetensor([1], Float32Array.of(3)),
    });
    const { tensors } = parseSafetensors(file);
    expect(Object.keys(tensors)).toEqual(["b", "c", "a"]);
    expect(tensors["b"]!.data.byteOffset % 8).toBe(0);
    expect(tensors["c"]!.data.byteOffset % 4).toBe(0);
    expect([...tensors["a"]!.data]).toEqual([1, 2, 3]);
  });

  it("refuses a tensor whose bytes do not fill its shape", () => {
    const wrong: Safetensor = { dtype: "F32", shape: [2, 3], data: new Uint8Array(20) };
    expect(() => encodeSafetensors({ w: wrong })).toThrow('Tensor "w" of F32 [2, 3]: expected 24 bytes, got 20.');
  });
});

describe("parseSafetensors", () => {
  it("returns the tensors and the metadata that were written", () => {
    const file = encodeSafetensors({ w: float32Safetensor([2, 2], Float32Array.of(1, 2, 3, 4)) }, { format: "pt", é: "ü" });
    const { tensors, metadata } = parseSafetensors(file);
    expect(metadata).toEqual({ format: "pt", é: "ü" });
    expect(tensors["w"]!.shape).toEqual([2, 2]);
    const { data } = tensors["w"]!;
    expect([...new Float32Array(data.buffer, data.byteOffset, 4)]).toEqual([1, 2, 3, 4]);
  });

  it("reads a file that starts at an odd offset of a larger buffer", () => {
    const file = encodeSafetensors({ w: float32Safetensor([1], Float32Array.of(7)) });
    const larger = new Uint8Array(file.length + 3);
    larger.set(file, 3);
    expect(parseSafetensors(larger.subarray(3)).tensors["w"]!.data).toEqual(new Uint8Array(Float32Array.of(7).buffer));
  });

  it.each([
    ["nothing", new Uint8Array(0), "at least 8 bytes"],
    ["a header longer than the file", handmade("{}", 0).fill(255, 0, 8), "the file has 10"],
    ["a header that is not JSON", handmade("{", 0), "not JSON"],
    ["a header that is a list", handmade("[]", 0), "not a JSON object"],
    ["an unknown element type", handmade('{"a":{"dtype":"F7","shape":[1],"data_offsets":[0,1]}}', 1), "header entry is not valid"],
    ["a negative size", handmade('{"a":{"dtype":"U8","shape":[-1],"data_offsets":[0,1]}}', 1), "header entry is not valid"],
    ["a shape that does not fill its bytes", handmade('{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,1]}}', 1), "does not fill"],
    ["a gap between tensors", handmade(`{"a":${entry(0, 1)},"b":${entry(2, 3)}}`, 3), "leave a gap or overlap"],
    ["tensors that overlap", handmade(`{"a":${entry(0, 2)},"b":${entry(1, 3)}}`, 3), "leave a gap or overlap"],
    ["tensors past the end", handmade(`{"a":${entry(0, 4)}}`, 3), "expected bytes 0 to 4, got only 3 bytes of data"],
    ["data that no tensor covers", handmade(`{"a":${entry(0, 1)}}`, 2), "cover 1 bytes of data, the file has 2"],
    ["a name that is there twice", handmade(`{"a":${entry(0, 1)},"a":${entry(1, 2)}}`, 2), "leave a gap or overlap"],
    [
      "a size whose product is beyond all numbers",
      handmade(`{"a":{"dtype":"U8","shape":[${"1e15,".repeat(30)}1],"data_offsets":[0,1]}}`, 1),
      "does not fill",
    ],
    [
      "lists a million deep inside each other",
      handmade(`{"a":${"[".repeat(1e6)}${"]".repeat(1e6)}}`, 0),
      'Tensor "a": the header entry is not valid',
    ],
    ["metadata with a number", handmade('{"__metadata__":{"a":1}}', 0), "more than text"],
  ])("refuses %s", (_case, bytes, message) => {
    expect(() => parseSafetensors(bytes)).toThrow(
      expect.objectContaining({ code: "E_SAFETENSORS", message: expect.stringContaining(message) }),
    );
  });
});
