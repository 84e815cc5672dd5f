import Type, { type Static, type TSchema } from "typebox";
import { Errors } from "typebox/value";
import { ServalError } from "../../../errors/serval-error.ts";
import type { Size } from "../../../image/preprocess.ts";
import { findPixelArray, readPixelArray } from "./pixel-array.ts";

export const inputName = "images";
const outputNames = ["logits", "probabilities", "features", "outlier_score"] as const;
/** Images of one request: their pixels and feature maps are all in memory at once. */
const maxImages = 64;
/** The JSON of a request without its `data`: names, shapes and parameters. */
const maxHeadBytes = 8 * 1024;

const Parameters = Type.Optional(
  Type.Record(Type.String(), Type.Union([Type.String({ maxLength: 1024 }), Type.Number(), Type.Boolean()]), { maxProperties: 16 }),
);
const TensorRequest = Type.Object({
  id: Type.Optional(Type.String({ maxLength: 256 })),
  parameters: Parameters,
  inputs: Type.Array(
    Type.Object({
      name: Type.Literal(inputName),
      shape: Type.Array(Type.Integer({ minimum: 1 }), { minItems: 4, maxItems: 4, description: "[N, height, width, 3]" }),
      datatype: Type.Literal("UINT8"),
      parameters: Parameters,
      data: Type.Optional(Type.Array(Type.Unknown(), { description: "Whole numbers from 0 to 255, row-major, nested or flat." })),
    }),
    { minItems: 1, maxItems: 1 },
  ),
  outputs: Type.Optional(
    Type.Array(Type.Object({ name: Type.Enum([...outputNames]), parameters: Parameters }), {
      maxItems: outputNames.length,
      description: "Each name at most once. Without it: logits and probabilities.",
    }),
  ),
});

/** For the description of the API. */
export const tensorRequestSchema: TSchema = TensorRequest;

export interface WantedOutput {
  readonly name: (typeof outputNames)[number];
  /** As bytes behind the JSON, instead of numbers in it. */
  readonly binary: boolean;
}

/** A request whose names and shape fit the model. */
export interface ReadTensorRequest {
  readonly id: string | undefined;
  readonly outputs: readonly WantedOutput[];
  readonly count: number;
  /** Pixels uint8 [count,H,W,3]; undefined where they are bytes behind the JSON. */
  readonly images: Uint8Array<ArrayBuffer> | undefined;
}

/**
 * Reads the JSON of an inference request for a model of this input size; `binaryBytes` is how many bytes follow it. The numbers
 * of `data` never become JavaScript values: their place is found first, the rest is checked, and then they are read into bytes,
 * as many as the shape says. So a body of any form takes time in proportion to its bytes, and memory for its pixels.
 * Throws E_REQUEST where it is not JSON, and E_TENSOR.
 */
export function readTensorRequest(json: Uint8Array, binaryBytes: number, size: Size): ReadTensorRequest {
  const place = findPixelArray(json, maxHeadBytes);
  const head = place === undefined ? json : Buffer.concat([json.subarray(0, place.start), Buffer.from("[]"), json.subarray(place.end)]);
  const { id, inputs, outputs, parameters } = checkHead(parse(head));
  const [{ shape, parameters: inputParameters }] = inputs as [(typeof inputs)[number]];
  const [count = 0, ...rest] = shape;
  const expected = [size.height, size.width, 3];
  if (rest.some((length, i) => length !== expected[i]) || count > maxImages) {
    throw new ServalError(
      "E_TENSOR",
      `inputs.0.shape: expected [1 to ${maxImages}, ${expected.join(", ")}], got ${JSON.stringify(shape).slice(0, 60)}.`,
    );
  }
  const bytes = count * size.height * size.width * 3;
  const announced = inputParameters?.["binary_data_size"];
  if (place === undefined && (announced !== bytes || binaryBytes !== bytes)) {
    throw new ServalError(
      "E_TENSOR",
      `inputs.0: expected data, or ${bytes} bytes behind the JSON; got ${binaryBytes} bytes, binary_data_size ${JSON.stringify(announced ?? null).slice(0, 60)}.`,
    );
  }
  return {
    id,
    outputs: readOutputs(outputs, parameters?.["binary_data_output"] === true),
    count,
    images: place === undefined ? undefined : readPixelArray(json, place, bytes),
  };
}

function parse(head: Uint8Array): unknown {
  try {
    return JSON.parse(Buffer.from(head).toString("utf8"));
  } catch (error) {
    throw new ServalError("E_REQUEST", `The body is not valid JSON: ${(error as Error).message}.`, { cause: error });
  }
}

/** Names, parameters and the form of the shape; at most `maxHeadBytes` are looked at, so that every problem may be searched for. */
function checkHead(head: unknown): Static<typeof TensorRequest> {
  const [problem] = Errors(TensorRequest, head);
  if (problem === undefined) return head as Static<typeof TensorRequest>;
  const where = problem.instancePath.slice(1).replaceAll("/", ".");
  const allowed = problem.keyword === "enum" ? `: ${outputNames.join(", ")}` : "";
  throw new ServalError("E_TENSOR", `${where === "" ? "The request" : where.slice(0, 60)}: ${problem.message}${allowed}.`);
}

function readOutputs(outputs: Static<typeof TensorRequest>["outputs"], binary: boolean): WantedOutput[] {
  if (outputs === undefined)
    return [
      { name: "logits", binary },
      { name: "probabilities", binary },
    ];
  for (const [i, { name }] of outputs.entries()) {
    if (outputs.findIndex((output) => output.name === name) !== i)
      throw new ServalError("E_TENSOR", `outputs.${i}.name: ${name} is there twice; expected each output at most once.`);
  }
  return outputs.map(({ name, parameters }) => ({ name, binary: (parameters?.["binary_data"] ?? binary) === true }));
}
