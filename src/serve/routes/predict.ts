import multipart from "@fastify/multipart";
import Type from "typebox";
import type { ServeApp, ServeContext } from "../context.ts";
import { ModelName, withErrors } from "../schemas.ts";
import { fileField, readUpload } from "../upload.ts";

const Prediction = Type.Object({
  label: Type.String({ description: "The most probable class." }),
  confidence: Type.Number({ minimum: 0, maximum: 1, description: "Its probability." }),
  probabilities: Type.Record(Type.String(), Type.Number({ minimum: 0, maximum: 1 }), { description: "Probability of each class." }),
  model: ModelName,
  request_id: Type.String({ description: "Names this answer, for the log and for feedback." }),
  timings_ms: Type.Object({
    preprocess: Type.Number({ description: "Decoding and scaling." }),
    queue: Type.Number({ description: "Waiting for the model." }),
    model: Type.Number({ description: "Inside the model." }),
    total: Type.Number({ description: "From the first byte of the request." }),
  }),
});

const image = { schema: Type.String({ format: "binary" }) };
const requestBody = {
  "multipart/form-data": { schema: Type.Object({ [fileField]: Type.String({ format: "binary", description: "The image." }) }) },
  "image/jpeg": image,
  "image/png": image,
  "image/webp": image,
  "image/gif": image,
  "application/octet-stream": image,
};

const milliseconds = (value: number): number => Number(value.toFixed(3));

/** POST /predict: one image, as a form or as the body, to a label with probabilities. */
export async function registerPredict(app: ServeApp, { model, predictor, limits }: ServeContext): Promise<void> {
  await app.register(async (scope: ServeApp) => {
    // Bodies stay streams: how much of one is read is decided in readUpload.
    await scope.register(multipart, { throwFileSizeLimit: false });
    scope.addContentTypeParser(/^(image\/[\w.+-]+|application\/octet-stream)(?:\s*;|$)/, (_request, _payload, done) => done(null));
    scope.post(
      "/predict",
      {
        config: { requestBody },
        schema: {
          tags: ["predictions"],
          summary: "Classify one image",
          description: "JPEG, PNG, WebP or GIF, as the form field `file` or as the body itself.",
          response: withErrors({ 200: Prediction }),
        },
      },
      async (request, reply) => {
        const bytes = await readUpload(request, reply, limits.maxBodyBytes);
        const { label, confidence, probabilities, timings } = await predictor.predict(bytes);
        Object.assign(request.outcome, { label, confidence });
        return {
          label,
          confidence,
          probabilities,
          model: { name: model.name, version: model.version },
          request_id: request.id,
          timings_ms: {
            preprocess: milliseconds(timings.preprocessMs),
            queue: milliseconds(timings.queueMs),
            model: milliseconds(timings.modelMs),
            total: milliseconds(reply.elapsedTime),
          },
        };
      },
    );
  });
}
