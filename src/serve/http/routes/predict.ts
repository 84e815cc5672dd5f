import type { FastifyReply, FastifyRequest } from "fastify";
import Type from "typebox";
import { unknownRoute } from "../../../monitor/metrics.ts";
import { clientGone, someWait } from "../client-gone.ts";
import type { ServeApp, ServeContext } from "../context.ts";
import type { AbstainReason } from "../../../predictions/prediction-store.ts";
import type { Prediction } from "../../model/predictor.ts";
import { Abstain, PredictionReply, withErrors } from "../schemas.ts";
import { imageBody, readUpload } from "../upload.ts";

const milliseconds = (value: number): number => Number(value.toFixed(3));

export interface PredictionBody {
  readonly label: string | null;
  readonly reason?: AbstainReason;
  readonly confidence: number;
  readonly probabilities: Record<string, number>;
  readonly model: { readonly name: string; readonly version: string };
  readonly request_id: string;
  readonly timings_ms: { readonly preprocess: number; readonly queue: number; readonly model: number; readonly total: number };
}

/** Counts and stores a prediction for the owner of the request's key, and gives it the shape of the API. */
export function concludePrediction(
  { metrics, predictionLog }: ServeContext,
  prediction: Prediction,
  { keyOwner, routeOptions }: FastifyRequest,
  requestId: string,
  abstain: boolean,
  totalMs: number,
): PredictionBody {
  const { label, confidence, model, probabilities, doubt, size = null, statistics, place, timings } = prediction;
  const reason = abstain ? doubt : null;
  const answer = reason === null ? label : null;
  metrics.countPrediction({ label: answer, confidence, modelVersion: model.version });
  if (doubt === "unknown_input") metrics.countUnknownInput(model.version);
  predictionLog?.add({
    requestId,
    atMs: Date.now(),
    modelName: model.name,
    modelVersion: model.version,
    label,
    confidence,
    probabilities,
    keyName: keyOwner?.name ?? null,
    facts: {
      route: routeOptions.url ?? unknownRoute,
      reason,
      latencyMs: { preprocess: timings.preprocessMs, queue: timings.queueMs, model: timings.modelMs, total: totalMs },
      size,
      statistics,
      outlierScore: place?.outlierScore ?? null,
      embedding: place?.embedding ?? null,
    },
  });
  return {
    label: answer,
    ...(reason === null ? {} : { reason }),
    confidence,
    probabilities: { ...probabilities },
    model,
    request_id: requestId,
    timings_ms: {
      preprocess: milliseconds(timings.preprocessMs),
      queue: milliseconds(timings.queueMs),
      model: milliseconds(timings.modelMs),
      total: milliseconds(totalMs),
    },
  };
}

/** Refuses from the headers alone while there is no room: the body of such a request is thrown away unread. */
export function admit({ predictor }: ServeContext): (request: FastifyRequest, reply: FastifyReply, done: (error?: Error) => void) => void {
  return (_request, _reply, done) => {
    try {
      predictor.assertRoom();
      done();
    } catch (error) {
      done(error as Error);
    }
  };
}

/** POST /predict: one image, as a form or as the body, to a label with probabilities. In the scope of `registerUploads`. */
export function registerPredict(scope: ServeApp, context: ServeContext): void {
  const { predictor, limits, bodies } = context;
  scope.post(
    "/predict",
    {
      config: { requestBody: imageBody },
      onRequest: admit(context),
      schema: {
        tags: ["predictions"],
        summary: "Classify one image",
        description: "JPEG, PNG, WebP or GIF, as the form field `file` or as the body itself.",
        querystring: Type.Object({ abstain: Abstain }),
        response: withErrors({ 200: PredictionReply }),
      },
    },
    async (request, reply) => {
      const gone = clientGone(reply, () => someWait(context));
      const image = await readUpload(request, reply, limits.maxBodyBytes, bodies.open(reply));
      const prediction = await predictor.predict(image, { signal: gone, disposable: true });
      const body = concludePrediction(
        context,
        prediction,
        request,
        request.id,
        request.query.abstain ?? context.abstain.whenUnsure,
        reply.elapsedTime,
      );
      Object.assign(request.outcome, { label: body.label, confidence: body.confidence });
      return body;
    },
  );
}
