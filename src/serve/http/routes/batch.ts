import { PassThrough } from "node:stream";
import Type from "typebox";
import { toServalError } from "../../../errors/serval-error.ts";
import { clientGone, someWait } from "../client-gone.ts";
import type { ServeApp, ServeContext } from "../context.ts";
import { shownError } from "../plugins/errors.ts";
import { Abstain, withErrors } from "../schemas.ts";
import { fileField, readFiles } from "../upload.ts";
import { admit, concludePrediction } from "./predict.ts";

/** Images of one batch that are waiting or running at a time: a batch shares the service with others. */
const atOnce = 4;

const requestBody = {
  "multipart/form-data": {
    schema: Type.Object({
      [fileField]: Type.Array(Type.String({ format: "binary" }), { minItems: 1, description: "The images, at most 256." }),
    }),
  },
};

/** POST /predict/batch: a form with several images to one line of JSON for each, in their order, as they get ready. */
export function registerBatch(scope: ServeApp, context: ServeContext): void {
  const { predictor, limits } = context;
  scope.post(
    "/predict/batch",
    {
      config: { requestBody },
      onRequest: admit(context),
      schema: {
        tags: ["predictions"],
        summary: "Classify several images",
        description:
          "JPEG, PNG, WebP or GIF, each as a form field `file`. One line of JSON for each, in their order: `index`, `filename`, and `result` " +
          "as /predict answers (its `request_id` has the index at its end), or `error`.",
        querystring: Type.Object({ abstain: Abstain }),
        response: withErrors({ 200: { description: "One line each", content: { "application/x-ndjson": { schema: Type.String() } } } }),
      },
    },
    async (request, reply) => {
      const gone = clientGone(reply, () => someWait(context));
      const abstain = request.query.abstain ?? context.abstain.whenUnsure;
      const lines = new PassThrough();
      const account = context.bodies.open(reply);
      const files = readFiles(request, limits.maxBodyBytes, account)[Symbol.asyncIterator]();
      // What is wrong before the first image is an error of the whole request.
      let next = await files.next();
      const work = async (): Promise<void> => {
        const waiting: Promise<string>[] = [];
        const write = async (): Promise<void> => void lines.write(`${await waiting.shift()}\n`);
        try {
          for (let index = 0; !next.done; index++) {
            const { filename, held, image } = next.value;
            waiting.push(line(index, filename, image, `${request.id}-${index}`).finally(() => account.release(held)));
            if (waiting.length >= atOnce) await write();
            next = await files.next();
          }
        } catch (error) {
          // The form broke off after answers were sent: the status is gone, so the last line says it.
          const failure = toServalError(error);
          waiting.push(Promise.resolve(JSON.stringify({ index: null, filename: null, error: shownError(failure, request.id) })));
        }
        while (waiting.length > 0) await write();
        lines.end();
      };
      const line = async (index: number, filename: string | null, image: Uint8Array | Error, id: string): Promise<string> => {
        const startedAt = performance.now();
        try {
          if (image instanceof Error) throw image;
          const prediction = await predictor.predict(image, { signal: gone, disposable: true });
          const result = concludePrediction(context, prediction, request, id, abstain, performance.now() - startedAt);
          return JSON.stringify({ index, filename, result });
        } catch (error) {
          const failure = toServalError(error);
          context.metrics.countError(failure.code);
          return JSON.stringify({ index, filename, error: shownError(failure, id) });
        }
      };
      void work();
      return await reply.type("application/x-ndjson").send(lines);
    },
  );
}
