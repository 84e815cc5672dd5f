import type { FastifyReply, FastifyRequest } from "fastify";
import Type, { type Static } from "typebox";
import { ServalError } from "../../../errors/serval-error.ts";
import { countedBody } from "../body-budget.ts";
import { clientGone, someWait } from "../client-gone.ts";
import type { ServeApp, ServeContext } from "../context.ts";
import { unknownRoute } from "../../../monitor/metrics.ts";
import { bestOf, findDoubt, type Inference } from "../../model/predictor.ts";
import type { ServedModel } from "../../model/served-model.ts";
import { largestAnswerBytes, type OutputTensor, type TensorAnswer } from "../tensors/tensor-answer.ts";
import { inputName, tensorRequestSchema } from "../tensors/tensor-request.ts";
import { TensorThread } from "../tensors/tensor-thread.ts";
import { admit } from "./predict.ts";

/** The largest answer, in the size of the largest body: the feature maps of 64 images as JSON take tens of megabytes. */
const answerShare = 2;
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

/** The binary tensor extension: how many bytes of a body are JSON; the bytes of the tensors follow. */
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
    // Clients send JSON under several names, or none. It is read when the model is known whose shape it must have.
    scope.addContentTypeParser("*", { parseAs: "buffer", bodyLimit: limits.maxBodyBytes }, (_request, body, done) => done(null, body));
    const tensors = new TensorThread();
    scope.addHook("onClose", (_instance, done) => {
      tensors.close();
      done();
    });

    const ready = (): boolean => slot.current.answering && !draining();

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
        ({ params }) => describeModel(find(slot, params)),
      );
      scope.get<{ Params: ModelParams }>(
        `${base}/ready`,
        { schema: { tags, summary: "Whether the model can answer", params, response: withErrors({ 200: Ready, 503: Ready }) } },
        async ({ params }, reply) => {
          find(slot, params);
          return await reply.code(ready() ? 200 : 503).send({ ready: ready() });
        },
      );
      scope.post<{ Params: ModelParams; Body: Buffer | undefined }>(
        `${base}/infer`,
        {
          config: { requestBody: { "application/json": { schema: tensorRequestSchema } } },
          onRequest: admit(context),
          schema: { tags, summary: "Run the model on pixels", params, response: withErrors({ 200: InferReply }) },
        },
        async (request, reply) => await infer(find(slot, request.params), request, context, tensors, reply),
      );
    }
  });
}

/** The model of an address, which must be the one that answers. */
function find({ current }: ServeContext["slot"], { model, version }: ModelParams): ServedModel {
  if (model === current.name && (version === undefined || version === current.version)) return current;
  const wanted = version === undefined ? model : `${model} ${version}`;
  throw new ServalError("E_MODEL_UNKNOWN", `${wanted.slice(0, 200)} is not served; ${current.name} ${current.version} is.`);
}

function describeModel({ name, version, inputSize, bundle, featureShape, space }: ServedModel): Static<typeof Metadata> {
  const k = bundle.manifest.labels.length;
  return {
    name,
    versions: [version],
    platform: "onnxruntime_onnx",
    inputs: [{ name: inputName, datatype: "UINT8", shape: [-1, inputSize.height, inputSize.width, 3] }],
    outputs: [
      { name: "logits", datatype: "FP32", shape: [-1, k] },
      { name: "probabilities", datatype: "FP32", shape: [-1, k] },
      { name: "features", datatype: "FP32", shape: [...featureShape] },
      ...(space?.outliers ? [{ name: "outlier_score", datatype: "FP32", shape: [-1] }] : []),
    ],
  };
}

type InferCall = FastifyRequest<{ Body: Buffer | undefined }>;

async function infer(
  model: ServedModel,
  call: InferCall,
  context: ServeContext,
  tensors: TensorThread,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const { body, headers } = call;
  if (body === undefined) throw new ServalError("E_TENSOR", "The request has no body; expected JSON with `inputs`.");
  const gone = clientGone(reply, () => someWait(context));
  const jsonBytes = readJsonLength(headers[lengthHeader], body.length);
  // Read before the JSON moves to another thread.
  const binary = body.subarray(jsonBytes);
  const { id, outputs: wanted, count, images = binary } = await tensors.read(body, jsonBytes, model.inputSize, gone);
  if (wanted.some(({ name }) => name === "outlier_score") && !model.space?.outliers) {
    throw new ServalError(
      "E_TENSOR",
      `outputs: ${model.name} ${model.version} has no outlier_score; GET ${call.url.replace(/\/infer.*/, "")} lists its outputs.`,
    );
  }
  const answer = await context.predictor.infer(
    model,
    images,
    count,
    wanted.some(({ name }) => name === "features"),
    gone,
  );
  logInference(context, model, answer, call, reply.elapsedTime);
  const k = model.bundle.manifest.labels.length;
  const outputs = wanted.map(({ name, binary }): OutputTensor => {
    if (name === "features")
      return { name, shape: answer.features?.shape ?? [], values: answer.features?.values ?? new Float32Array(), binary };
    if (name === "outlier_score")
      return { name, shape: [count], values: Float32Array.from(answer.places, (place) => place.outlierScore ?? NaN), binary };
    return { name, shape: [count, k], values: answer[name], binary };
  });
  const tensorAnswer = { model_name: model.name, model_version: model.version, ...(id === undefined ? {} : { id }), outputs };
  holdAnswer(tensorAnswer, context, reply);
  const json = await tensors.write(tensorAnswer, gone);
  const tail = outputs.filter(({ binary }) => binary).map(({ values }) => Buffer.from(values.buffer, values.byteOffset, values.byteLength));
  if (tail.length === 0)
    return await reply.type("application/json; charset=utf-8").send(Buffer.from(json.buffer, json.byteOffset, json.length));
  void reply.header(lengthHeader, json.length).type("application/octet-stream");
  return await reply.send(Buffer.concat([json, ...tail]));
}

/** Stores each image of a request as a prediction: the id of the request, and its place. */
function logInference(
  { predictionLog, metrics, abstain }: ServeContext,
  model: ServedModel,
  { probabilities, statistics, places, queueMs, modelMs }: Inference,
  { id, keyOwner, routeOptions }: InferCall,
  totalMs: number,
): void {
  const { name, version, bundle } = model;
  const { labels } = bundle.manifest;
  const atMs = Date.now();
  for (const [i, seen] of statistics.entries()) {
    const own = probabilities.subarray(i * labels.length, (i + 1) * labels.length);
    // A client may send pixels for which a model gives no numbers, and gets those as they are.
    if (!own.every(Number.isFinite)) continue;
    const best = bestOf(labels, own);
    const place = places[i] ?? null;
    const doubt = findDoubt(model, best.confidence, place);
    if (doubt === "unknown_input") metrics.countUnknownInput(version);
    predictionLog?.add({
      requestId: `${id}-${i}`,
      atMs,
      modelName: name,
      modelVersion: version,
      ...best,
      keyName: keyOwner?.name ?? null,
      facts: {
        route: routeOptions.url ?? unknownRoute,
        // What /predict would have said: tensors have no place for it.
        reason: abstain.whenUnsure ? doubt : null,
        latencyMs: { preprocess: null, queue: queueMs, model: modelMs, total: totalMs },
        size: null,
        statistics: seen,
        outlierScore: place?.outlierScore ?? null,
        embedding: place?.embedding ?? null,
      },
    });
  }
}

function readJsonLength(header: string | string[] | undefined, bodyLength: number): number {
  const length = header === undefined ? bodyLength : Number(header);
  if (Number.isInteger(length) && length >= 0 && length <= bodyLength) return length;
  throw new ServalError("E_TENSOR", `${lengthHeader}: expected at most ${bodyLength}, got ${String(header).slice(0, 40)}.`);
}

/** Refuses an answer that would be too large, before it is written, and counts the others with the bodies that are held. */
function holdAnswer(answer: TensorAnswer, { limits, bodies }: ServeContext, reply: FastifyReply): void {
  const bytes = largestAnswerBytes(answer);
  const limit = answerShare * limits.maxBodyBytes;
  if (bytes > limit) {
    throw new ServalError("E_TENSOR", `The answer may take ${bytes} bytes, and at most ${limit} are sent.`, {
      hint: "Ask for the outputs with `binary_data`, or for fewer images.",
    });
  }
  bodies.open(reply).add(bytes);
}
