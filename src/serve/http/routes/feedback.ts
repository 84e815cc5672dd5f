import { TypeBoxValidatorCompiler } from "@fastify/type-provider-typebox";
import Type from "typebox";
import { ServalError } from "../../../errors/serval-error.ts";
import type { ServeApp, ServeContext } from "../context.ts";
import { changeableBy } from "./predictions.ts";
import { withErrors } from "../schemas.ts";

const maxBodyBytes = 4096;

const Feedback = Type.Object({
  request_id: Type.String({ minLength: 1, maxLength: 64, description: "That of the prediction." }),
  label: Type.String({ minLength: 1, maxLength: 256, description: "What it should have been; the label itself where it was right." }),
});
const Stored = Type.Object({
  request_id: Type.String(),
  label: Type.String(),
  stored: Type.Union([Type.Literal("new"), Type.Literal("same")]),
});

/** POST /feedback: what a picture really shows. Answered when it is on disk. */
export async function registerFeedback(app: ServeApp, { predictionLog }: ServeContext): Promise<void> {
  await app.register((scope: ServeApp) => {
    scope.addContentTypeParser(
      "application/json",
      { parseAs: "string", bodyLimit: maxBodyBytes },
      scope.getDefaultJsonParser("error", "error"),
    );
    scope.post(
      "/feedback",
      {
        // The number 7 is not the text "7": values of a JSON body are not converted, as those of an address are.
        validatorCompiler: TypeBoxValidatorCompiler,
        schema: {
          tags: ["predictions"],
          summary: "Say what an image really shows",
          description:
            "202 when the label is stored, 200 when it was stored before. Another label for the same request replaces the first. " +
            "Where the service has keys, a key labels the predictions that it asked for; to every other key they are unknown (404).",
          body: Feedback,
          response: withErrors({ 200: Stored, 202: Stored }),
        },
      },
      async (request, reply) => {
        if (predictionLog === undefined) throw new ServalError("E_PREDICTION_LOG", "This service stores no predictions.");
        const { request_id: id, label } = request.body;
        const stored = await predictionLog.addFeedback(id, label, changeableBy(request));
        return await reply.code(stored === "new" ? 202 : 200).send({ request_id: id, label, stored });
      },
    );
  });
}
