import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { readTensorRequest, type ReadTensorRequest } from "../../../src/serve/http/tensors/tensor-request.ts";

const size = { height: 2, width: 3 };
const values = Array.from({ length: 18 }, (_, i) => i * 15);
const input = { name: "images", datatype: "UINT8", shape: [1, 2, 3, 3] };

const read = (text: string, binaryBytes = 0): ReadTensorRequest => readTensorRequest(Buffer.from(text), binaryBytes, size);
const readData = (data: string): number[] => [
  ...(read(JSON.stringify({ inputs: [{ ...input, data: 0 }] }).replace(":0}", `:${data}}`)).images ?? []),
];

/** What it returns, or that it refuses. */
function outcome(read: () => number[]): number[] | string {
  try {
    return read();
  } catch {
    return "refused";
  }
}

/** The same by way of JavaScript's own parser. */
function readByParsing(data: string): number[] {
  const all = (JSON.parse(data) as unknown[]).flat(3) as number[];
  if (all.length === 18 && all.every((value) => Number.isInteger(value) && value >= 0 && value <= 255)) return all;
  throw new RangeError(data);
}

describe("the values", () => {
  test("are read flat or nested, wherever they are in the request and however it is spaced", () => {
    const rows = [0, 1].map((y) => [0, 1, 2].map((x) => values.slice((y * 3 + x) * 3, (y * 3 + x) * 3 + 3)));
    for (const data of [values, [rows], rows])
      for (const indent of [0, 2])
        for (const request of [
          { inputs: [{ ...input, data }] },
          { id: 'a "data" [', parameters: { data: "x", inputs: true }, inputs: [{ data, ...input }], outputs: [{ name: "logits" }] },
        ]) {
          expect([...(read(JSON.stringify(request, null, indent)).images ?? [])]).toEqual(values);
        }
  });

  test("are those that JSON.parse reads, in any form of a whole number", () => {
    const byte = fc.integer({ min: 0, max: 255 });
    const written = byte.chain((value) =>
      fc.constantFrom(`${value}`, `${value}.0`, `${value * 10}e-1`, ` ${value}\n`, `${value / 100}E+2`),
    );
    const exact = written.filter((text) => Number.isInteger(JSON.parse(text)));
    fc.assert(
      fc.property(fc.array(exact, { minLength: 18, maxLength: 18 }), (texts) => {
        expect(readData(`[${texts.join()}]`)).toEqual(texts.map((text) => JSON.parse(text) as number));
      }),
    );
  });

  test("that JSON.parse refuses, or that are not bytes, are refused", () => {
    const text = fc.array(fc.constantFrom("0", "1", "25", "255", ",", "[", "]", "-", ".", "e", " ", "+", "00"), { maxLength: 40 });
    fc.assert(
      fc.property(text, (parts) => {
        const data = `[${parts.join("")}]`;
        expect(outcome(() => readData(data))).toEqual(outcome(() => readByParsing(data)));
      }),
      { numRuns: 2000 },
    );
  });

  test.each([
    ["256", "value 17 is 256; expected a whole number from 0 to 255"],
    ["1.5", "value 17 is 1.5;"],
    ["01", "value 17 is 01;"],
    ["-1", 'expected a whole number from 0 to 255 as value 17, got "-1]'],
    [`1${"0".repeat(1000)}`, `value 17 is 1${"0".repeat(32)};`],
    ["1 2", 'expected a comma or ] after value 17, got "2]'],
    ["1,2", "expected 18 values, got more"],
    ["", 'expected a whole number from 0 to 255 as value 17, got "]'],
    ["null", 'expected a whole number from 0 to 255 as value 17, got "null]'],
    ['"1"', "expected numbers and lists of them only"],
    ["{}", "expected numbers and lists of them only"],
    ["[[[[1]]]]", "expected at most 4 brackets inside each other"],
  ])("that end in %s are refused with their place", (last, message) => {
    expect(() => readData(`[${values.slice(0, 17).join()},${last}]`)).toThrow(
      expect.objectContaining({ code: "E_TENSOR", message: expect.stringContaining(`inputs.0.data: ${message}`) }),
    );
  });
});

describe("the rest of a request", () => {
  const request = (changes: object): string => JSON.stringify({ inputs: [{ ...input, data: values }], ...changes });

  test("says which outputs are wanted, and in which form", () => {
    const outputs = [{ name: "features", parameters: { binary_data: false } }, { name: "logits" }];
    expect(read(request({})).outputs).toEqual([
      { name: "logits", binary: false },
      { name: "probabilities", binary: false },
    ]);
    expect(read(request({ id: "seven", outputs, parameters: { binary_data_output: true } }))).toMatchObject({
      id: "seven",
      count: 1,
      outputs: [
        { name: "features", binary: false },
        { name: "logits", binary: true },
      ],
    });
  });

  test("may say that the pixels are bytes behind it", () => {
    const bytes = { inputs: [{ ...input, parameters: { binary_data_size: 18 } }] };
    expect(read(JSON.stringify(bytes), 18)).toMatchObject({ count: 1, images: undefined });
    expect(() => read(JSON.stringify(bytes), 17)).toThrow("got 17 bytes, binary_data_size 18");
  });

  test.each<[string, object, string]>([
    ["an output twice", { outputs: [{ name: "logits" }, { name: "logits" }] }, "outputs.1.name: logits is there twice"],
    [
      "an output that there is not",
      { outputs: [{ name: "secret" }] },
      "outputs.0.name: must be equal to one of the allowed values: logits",
    ],
    ["five outputs", { outputs: Array.from({ length: 5 }, () => ({ name: "logits" })) }, "outputs: must not have more than 4 items"],
    [
      "17 parameters",
      { parameters: Object.fromEntries(values.slice(0, 17).map((i) => [`p${i}`, 1])) },
      "parameters: must not have more than 16",
    ],
    ["a list as a parameter", { parameters: { a: [] } }, "parameters.a: must be"],
    [
      "another size",
      { inputs: [{ ...input, shape: [1, 3, 3, 3], data: [] }] },
      "inputs.0.shape: expected [1 to 64, 2, 3, 3], got [1,3,3,3]",
    ],
    ["65 images", { inputs: [{ ...input, shape: [65, 2, 3, 3], data: [] }] }, "inputs.0.shape: expected [1 to 64"],
    ["9,000 characters besides the data", { more: "x".repeat(9000) }, "The JSON has more than 8192 bytes besides the `data` of its input"],
    ["data that is not a list", { inputs: [{ ...input, data: "1" }] }, "inputs.0.data: must be array"],
  ])("with %s is refused", (_what, changes, message) => {
    expect(() => read(request(changes))).toThrow(expect.objectContaining({ code: "E_TENSOR", message: expect.stringContaining(message) }));
  });

  test("with the data twice, or cut off anywhere, is refused", () => {
    const text = request({});
    expect(() => read(text.replace('"data"', '"data":[1],"data"'))).toThrow("expected it once");
    for (let length = 0; length < text.length; length++)
      expect(() => read(text.slice(0, length))).toThrow(expect.objectContaining({ code: "E_REQUEST" }));
  });

  test("that names its members in escapes means the same", () => {
    expect([...(read(request({}).replace("data", "d\\u0061ta")).images ?? [])]).toEqual(values);
  });
});
