import type { FastifyRequest } from "fastify";
import Type from "typebox";
import { ServalError } from "../../../errors/serval-error.ts";
import type { ServeApp, ServeContext } from "../context.ts";
import { withErrors } from "../schemas.ts";

/** Whose predictions a request may label and remove: a key's are its own, a reviewer's key and a service without keys have all (null). */
export function changeableBy({ keyOwner }: FastifyRequest): string | null {
  return keyOwner === null || keyOwner.reviewer ? null : keyOwner.name;
}

/** DELETE /predictions/ID: answered when the prediction and all that belongs to it are gone. */
export function registerPredictions(app: ServeApp, { predictionLog }: ServeContext): void {
  app.delete(
    "/predictions/:request_id",
    {
      schema: {
        tags: ["predictions"],
        summary: "Remove a stored prediction and its feedback",
        description:
          "204 when it is gone, also from the bytes on the disk; backups keep what they have. " +
          "Where the service has keys, a key removes the predictions that it asked for; to every other key they are unknown (404).",
        params: Type.Object({ request_id: Type.String({ minLength: 1, maxLength: 64, description: "That of the prediction." }) }),
        response: withErrors({ 204: Type.Null({ description: "Removed." }) }),
      },
    },
    async (request, reply) => {
      if (predictionLog === undefined) throw new ServalError("E_PREDICTION_LOG", "This service stores no predictions.");
      await predictionLog.erase(request.params.request_id, changeableBy(request));
      return await reply.code(204).send(null);
    },
  );
}
