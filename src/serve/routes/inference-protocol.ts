import type { FastifyReply } from "fastify";
import Type, { type Static } from "typebox";
import { Errors } from "typebox/value";
import { ServalError } from "../../errors.ts";
import { countedBody } from "../body-budget.ts";
import { clientGone, type ServeApp, type ServeContext } from "../context.ts";
import type { ServedModel } from "../served-model.ts";
import { admit } from "./predict.ts";

const inputName = "images";
const outputNames = ["logits", "probabilities", "features"] as const;
/** Images of one request: their pixels and feature maps are all in memory at once. */
const maxImages = 64;

const Parameters = Type.Optional(Type.Record(Type.String(), Type.Unknown()));
const InferRequest = Type.Object({
  id: Type.Optional(Type.String({ maxLength: 256 })),
  parameters: Parameters,
  inputs: Type.Array(
    Type.Object({
      name: Type.Literal(inputName),
      shape: Type.Array(Type.Integer({ minimum: 1 }), { minItems: 4, maxItems: 4, description: "[N, height, width, 3]" }),
      datatype: Type.Literal("UINT8"),
      parameters: Parameters,
      data: Type.Optional(Type.Array(Type.Unknown(), { description: "Row-major, nested or flat." })),
    }),
    { minItems: 1, maxItems: 1 },
  ),
  outputs: Type.Optional(Type.Array(Type.Object({ name: Type.String(), parameters: Parameters }))),
});
const Tensor = Type.Object({ name: Type.String(), datatype: Type.String(), shape: Type.Array(Type.Integer()) });
const InferReply = Type.Object({
  model_name: Type.String(),
  model_version: Type.String(),
  id: Type.Optional(Type.String()),
  outputs: Type.Array(Type.Object({ ...Tensor.properties, data: Type.Array(Type.Number()) })),
});
const Metadata = Type.Object({
  name: Type.String(),
  versions: Type.Array(Type.String()),
  platform: Type.String(),
  inputs: Type.Array(Tensor),
  outputs: Type.Array(Tensor),
});
const ProtocolError = Type.Object({ error: Type.String() }, { description: "The request failed." });
const withErrors = <T extends object>(replies: T) => ({ ...replies, "4xx": ProtocolError, "5xx": ProtocolError });

interface ModelParams {
  readonly model: string;
  readonly version?: string;
}

/** A body of the binary tensor extension: JSON first, then the bytes of the tensors. */
interface ParsedBody {
  readonly json: unknown;
  readonly binary: Uint8Array;
}

const lengthHeader = "inference-header-content-length";

/**
 * The Open Inference Protocol, version 2, over HTTP (github.com/kserve/open-inference-protocol), with the binary tensor data
 * extension that Triton's clients use unless they are told not to. The tensors are the model's own: pixels, not files.
 */
export async function registerInferenceProtocol(app: ServeApp, context: ServeContext, version: string): Promise<void> {
  await app.register((scope: ServeApp) => {
    const { slot, limits, draining } = context;
    const tags = ["inference protocol"];
    scope.addHook("preParsing", (request, reply, payload, done) => {
      done(null, request.method === "POST" ? countedBody(payload, reply, context.bodies.open(reply)) : payload);
    });
    // Clients send JSON under several names, or none.
    scope.addContentTypeParser("*", { parseAs: "buffer", bodyLimit: limits.maxBodyBytes }, (request, body, done) => {
      try {
        done(null, splitBody(body as Buffer, request.headers[lengthHeader]));
      } catch (error) {
        done(error as Error);
      }
    });

    const find = ({ model, version }: ModelParams): ServedModel => {
      const { current } = slot;
      if (model === current.name && (version === undefined || version === current.version)) return current;
      const wanted = version === undefined ? model : `${model} ${version}`;
      throw new ServalError("E_MODEL_UNKNOWN", `${wanted.slice(0, 200)} is not served; ${current.name} ${current.version} is.`);
    };
    const ready = (): boolean => slot.current.pool.alive && !draining();

    scope.get(
      "/v2",
      {
        schema: {
          tags,
          summary: "The server",
          response: withErrors({
            200: Type.Object({ name: Type.String(), version: Type.String(), extensions: Type.Array(Type.String()) }),
          }),
        },
      },
      () => ({ name: "serval", version, extensions: ["binary_tensor_data"] }),
    );
    scope.get(
      "/v2/health/live",
      {
        config: { open: true },
        schema: { tags, summary: "Whether the server is alive", response: { 200: Type.Object({ live: Type.Boolean() }) } },
      },
      () => ({ live: true }),
    );
    const Ready = Type.Object({ ready: Type.Boolean() });
    scope.get(
      "/v2/health/ready",
      { config: { open: true }, schema: { tags, summary: "Whether its model can answer", response: { 200: Ready, 503: Ready } } },
      async (_request, reply) => await reply.code(ready() ? 200 : 503).send({ ready: ready() }),
    );

    for (const base of ["/v2/models/:model", "/v2/models/:model/versions/:version"]) {
      const params = Type.Object({
        model: Type.String({ examples: [slot.current.name] }),
        ...(base.endsWith(":version") ? { version: Type.String() } : {}),
      });
      scope.get<{ Params: ModelParams }>(
        base,
        { schema: { tags, summary: "Inputs and outputs of the model", params, response: withErrors({ 200: Metadata }) } },
        ({ params }) => describeModel(find(params)),
      );
      scope.get<{ Params: ModelParams }>(
        `${base}/ready`,
        { schema: { tags, summary: "Whether the model can answer", params, response: withErrors({ 200: Ready, 503: Ready }) } },
        async ({ params }, reply) => {
          find(params);
          return await reply.code(ready() ? 200 : 503).send({ ready: ready() });
        },
      );
      scope.post<{ Params: ModelParams; Body: ParsedBody | undefined }>(
        `${base}/infer`,
        {
          config: { requestBody: { "application/json": { schema: InferRequest } } },
          onRequest: admit(context),
          schema: { tags, summary: "Run the model on pixels", params, response: withErrors({ 200: InferReply }) },
        },
        async (request, reply) => await infer(find(request.params), request.body, context, reply),
      );
    }
  });
}

function splitBody(body: Buffer, header: string | string[] | undefined): ParsedBody {
  const length = header === undefined ? body.length : Number(header);
  if (!Number.isInteger(length) || length < 0 || length > body.length) {
    throw new ServalError("E_TENSOR", `${lengthHeader}: expected at most ${body.length}, got ${String(header).slice(0, 40)}.`);
  }
  try {
    return { json: JSON.parse(body.toString("utf8", 0, length)), binary: body.subarray(length) };
  } catch (error) {
    throw new ServalError("E_REQUEST", `The body is not valid JSON: ${(error as Error).message}.`, { cause: error });
  }
}

function describeModel({ name, version, inputSize, bundle, classifier }: ServedModel): Static<typeof Metadata> {
  const k = bundle.manifest.labels.length;
  return {
    name,
    versions: [version],
    platform: "onnxruntime_onnx",
    inputs: [{ name: inputName, datatype: "UINT8", shape: [-1, inputSize.height, inputSize.width, 3] }],
    outputs: [
      { name: "logits", datatype: "FP32", shape: [-1, k] },
      { name: "probabilities", datatype: "FP32", shape: [-1, k] },
      { name: "features", datatype: "FP32", shape: [-1, classifier?.channels ?? -1, -1, -1] },
    ],
  };
}

async function infer(model: ServedModel, body: ParsedBody | undefined, context: ServeContext, reply: FastifyReply): Promise<unknown> {
  if (body === undefined) throw new ServalError("E_TENSOR", "The request has no body; expected JSON with `inputs`.");
  const request = checkRequest(body.json);
  const { images, count } = readInput(model, request, body.binary);
  const wanted = request.outputs ?? [{ name: "logits" }, { name: "probabilities" }];
  for (const { name } of wanted) {
    if (!outputNames.some((known) => known === name))
      throw new ServalError("E_TENSOR", `outputs: the model has ${outputNames.join(", ")}, not ${quote(name)}.`);
  }
  const answer = await context.predictor.infer(
    model,
    images,
    count,
    wanted.some(({ name }) => name === "features"),
    clientGone(reply),
  );
  const k = model.bundle.manifest.labels.length;
  const outputs = wanted.map(({ name, parameters }) => {
    const [shape, values] =
      name === "features"
        ? ([answer.features?.shape ?? [], answer.features?.values ?? new Float32Array()] as const)
        : ([[count, k], name === "logits" ? answer.logits : answer.probabilities] as const);
    const binary = (parameters?.["binary_data"] ?? request.parameters?.["binary_data_output"]) === true;
    return { name, datatype: "FP32", shape: [...shape], values, binary };
  });
  const head = { model_name: model.name, model_version: model.version, ...(request.id === undefined ? {} : { id: request.id }) };
  if (!outputs.some(({ binary }) => binary)) {
    return { ...head, outputs: outputs.map(({ name, datatype, shape, values }) => ({ name, datatype, shape, data: [...values] })) };
  }
  const json = JSON.stringify({
    ...head,
    outputs: outputs.map(({ values, binary, ...tensor }) =>
      binary ? { ...tensor, parameters: { binary_data_size: values.byteLength } } : { ...tensor, data: [...values] },
    ),
  });
  const tail = outputs.filter(({ binary }) => binary).map(({ values }) => Buffer.from(values.buffer, values.byteOffset, values.byteLength));
  void reply.header(lengthHeader, Buffer.byteLength(json)).type("application/octet-stream");
  return await reply.send(Buffer.concat([Buffer.from(json), ...tail]));
}

function checkRequest(json: unknown): Static<typeof InferRequest> {
  const [problem] = Errors(InferRequest, json);
  if (problem === undefined) return json as Static<typeof InferRequest>;
  const where = problem.instancePath.slice(1).replaceAll("/", ".");
  throw new ServalError("E_TENSOR", `${where === "" ? "The request" : where}: ${problem.message}.`);
}

/** The one input, as the bytes that the model takes. */
function readInput(
  { inputSize }: ServedModel,
  { inputs }: Static<typeof InferRequest>,
  binary: Uint8Array,
): { images: Uint8Array; count: number } {
  const [{ shape, data, parameters }] = inputs as [(typeof inputs)[number]];
  const [count = 0, ...rest] = shape;
  const expected = [inputSize.height, inputSize.width, 3];
  if (rest.some((size, i) => size !== expected[i]) || count < 1 || count > maxImages) {
    throw new ServalError(
      "E_TENSOR",
      `inputs.0.shape: expected [1 to ${maxImages}, ${expected.join(", ")}], got ${quote(shape.slice(0, 8))}.`,
    );
  }
  const bytes = count * inputSize.height * inputSize.width * 3;
  const size = parameters?.["binary_data_size"];
  if (data === undefined) {
    if (size !== bytes || binary.length !== bytes) {
      throw new ServalError(
        "E_TENSOR",
        `inputs.0: expected data, or ${bytes} bytes behind the JSON; got ${binary.length} bytes, binary_data_size ${quote(size)}.`,
      );
    }
    return { images: binary, count };
  }
  // At most as deep as the shape, or a body of brackets would be a long walk.
  const values: unknown[] = data.flat(3);
  if (values.length !== bytes) throw new ServalError("E_TENSOR", `inputs.0.data: expected ${bytes} values, got ${values.length}.`);
  const images = new Uint8Array(bytes);
  for (const [i, value] of values.entries()) {
    if (typeof value !== "number" || !Number.isInteger(value) || value < 0 || value > 255) {
      throw new ServalError("E_TENSOR", `inputs.0.data: value ${i} is ${quote(value)}; expected an integer from 0 to 255.`);
    }
    images[i] = value;
  }
  return { images, count };
}

function quote(value: unknown): string {
  return (JSON.stringify(value) ?? "none").slice(0, 60);
}
