import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { encodeModel } from "../../../src/onnx/encode.ts";
import type { OnnxModel } from "../../../src/onnx/model.ts";
import { ProtobufWriter } from "../../../src/onnx/protobuf.ts";
import { onnxruntime } from "../../../src/runtime/onnxruntime.ts";
import { float32Initializer, readFields, type ProtobufField } from "../../helpers/onnx.ts";

const model: OnnxModel = {
  irVersion: 8,
  producer: "serval",
  graphName: "line",
  opsets: { "": 17 },
  nodes: [
    { name: "twice", op: "Mul", domain: "", inputs: ["x", "slope"], outputs: ["scaled"], attributes: {} },
    {
      name: "leak",
      op: "LeakyRelu",
      domain: "",
      inputs: ["scaled"],
      outputs: ["y"],
      attributes: { alpha: { kind: "float", value: 0.25 } },
    },
  ],
  initializers: [float32Initializer("slope", [2], Float32Array.of(2, -3))],
  inputs: [{ name: "x", dtype: "float32", shape: ["N", 2] }],
  outputs: [{ name: "y", dtype: "float32", shape: ["N", 2] }],
  metadata: { note: "größer" },
};

const textOf = (field: ProtobufField | undefined): string => new TextDecoder().decode(field?.bytes);
const fieldsOf = (message: Uint8Array, number: number): ProtobufField[] =>
  [...readFields(message)].filter((field) => field.number === number);

describe("an encoded model", () => {
  test("holds version, graph, nodes, weights and metadata in the fields of onnx.proto3", () => {
    const bytes = encodeModel(model);
    expect(fieldsOf(bytes, 1)[0]?.varint).toBe(8n);
    const graph = fieldsOf(bytes, 7)[0]?.bytes ?? new Uint8Array();
    expect(fieldsOf(graph, 1).map((node) => textOf(fieldsOf(node.bytes, 4)[0]))).toEqual(["Mul", "LeakyRelu"]);
    const weights = fieldsOf(graph, 5)[0]?.bytes ?? new Uint8Array();
    expect(textOf(fieldsOf(weights, 8)[0])).toBe("slope");
    expect([...(fieldsOf(weights, 9)[0]?.bytes ?? [])]).toEqual([...new Uint8Array(Float32Array.of(2, -3).buffer)]);
    const metadata = fieldsOf(bytes, 14)[0]?.bytes ?? new Uint8Array();
    expect([textOf(fieldsOf(metadata, 1)[0]), textOf(fieldsOf(metadata, 2)[0])]).toEqual(["note", "größer"]);
  });

  test("is the same bytes each time, and runs", async () => {
    const bytes = encodeModel(model);
    expect(Buffer.compare(bytes, encodeModel(structuredClone(model)))).toBe(0);
    const session = await onnxruntime.createSession(bytes, { threads: 1 });
    const { y } = await session.run({ x: { dtype: "float32", shape: [2, 2], data: Float32Array.of(1, 1, -1, -2) } });
    await session.close();
    expect([...((y?.data as Float32Array | undefined) ?? [])]).toEqual([2, -0.75, -0.5, 6]);
  });
});

describe("the wire format", () => {
  test("gives any whole number, negative ones included, and any bytes back", () => {
    fc.assert(
      fc.property(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }), fc.uint8Array({ maxLength: 5000 }), (number, bytes) => {
        const fields = [...readFields(new ProtobufWriter().int(3, number).bytes(1000, bytes).finish())];
        expect(fields.map((field) => field.number)).toEqual([3, 1000]);
        expect(BigInt.asIntN(64, fields[0]?.varint ?? 0n)).toBe(number);
        expect(fields[1]?.bytes).toEqual(bytes);
      }),
    );
  });

  test("writes the bytes of the examples in the Protocol Buffers guide", () => {
    expect(Buffer.from(new ProtobufWriter().int(1, 150).finish()).toString("hex")).toBe("089601");
    expect(Buffer.from(new ProtobufWriter().string(2, "testing").finish()).toString("hex")).toBe("120774657374696e67");
  });

  test("is refused when it is cut off anywhere inside a field", () => {
    const whole = new ProtobufWriter().string(1, "testing").finish();
    for (let length = 1; length < whole.length; length++) {
      expect(() => [...readFields(whole.subarray(0, length))]).toThrow(RangeError);
    }
    expect(() => [...readFields(Uint8Array.of(0x0b))]).toThrow("wire type 3");
  });
});
