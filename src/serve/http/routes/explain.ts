import Type from "typebox";
import { clientGone, someWait } from "../client-gone.ts";
import type { ServeApp, ServeContext } from "../context.ts";
import { Abstain, PredictionReply, withErrors } from "../schemas.ts";
import { imageBody, readUpload } from "../upload.ts";
import { admit, concludePrediction } from "./predict.ts";

const Explanation = Type.Object({
  ...PredictionReply.properties,
  explained: Type.String({ description: "The label that the map is about." }),
  logit: Type.Number({ description: "Its logit before the temperature: the mean of the map, plus the bias of the class." }),
  map: Type.Object(
    {
      width: Type.Integer(),
      height: Type.Integer(),
      values: Type.Array(Type.Array(Type.Number()), { description: "Rows from top to bottom; above 0 speaks for the label." }),
    },
    { description: "Class activation map over the image as the model saw it." },
  ),
});

/** POST /explain: where in the image the model saw its answer, as numbers or drawn over the image. */
export function registerExplain(scope: ServeApp, context: ServeContext): void {
  const { predictor, limits } = context;
  scope.post(
    "/explain",
    {
      config: { requestBody: imageBody },
      onRequest: admit(context),
      schema: {
        tags: ["predictions"],
        summary: "Show which parts of an image support the answer",
        description:
          "The image as for /predict. With `Accept: image/png` or `?format=png` the answer is the image with the map drawn over it.",
        querystring: Type.Object({
          label: Type.Optional(Type.String({ description: "Explain this label instead of the answer." })),
          format: Type.Optional(Type.Union([Type.Literal("json"), Type.Literal("png")])),
          abstain: Abstain,
        }),
        response: withErrors({
          200: {
            description: "The map",
            content: { "application/json": { schema: Explanation }, "image/png": { schema: Type.String({ format: "binary" }) } },
          },
        }),
      },
    },
    async (request, reply) => {
      const gone = clientGone(reply, () => someWait(context));
      const { label, format, abstain } = request.query;
      const wantsPng = format === "png" || (format === undefined && request.headers.accept?.includes("image/png") === true);
      const image = await readUpload(request, reply, limits.maxBodyBytes, context.bodies.open(reply));
      const explanation = await predictor.explain(image, { label, overlay: wantsPng, signal: gone });
      const body = concludePrediction(context, explanation, request, request.id, abstain ?? context.abstain.whenUnsure, reply.elapsedTime);
      Object.assign(request.outcome, { label: body.label, confidence: body.confidence });
      void reply.header("vary", "accept");
      if (explanation.overlay !== null) return await reply.type("image/png").send(explanation.overlay);
      const { width, height, values } = explanation.map;
      const rows = Array.from({ length: height }, (_, y) => [...values.subarray(y * width, (y + 1) * width)]);
      const map = { width, height, values: rows };
      return await reply
        .type("application/json; charset=utf-8")
        .send({ ...body, explained: explanation.explained, logit: explanation.logit, map });
    },
  );
}
