import Type from "typebox";
import type { ServeApp, ServeContext } from "../context.ts";
import { ModelName } from "../schemas.ts";

const Health = Type.Object({
  status: Type.Union([Type.Literal("ok"), Type.Literal("unavailable")]),
  model: ModelName,
  uptime_s: Type.Number({ description: "Seconds since the service started." }),
});

/** GET /health: 200 while the model can answer, else 503. Cheap: it does not run the model. */
export function registerHealth(app: ServeApp, { model }: ServeContext): void {
  const startedAt = performance.now();
  app.get(
    "/health",
    { schema: { tags: ["operation"], summary: "Whether the service can answer", response: { 200: Health, 503: Health } } },
    async (_request, reply) => {
      const { alive } = model.inference;
      const uptime = Number(((performance.now() - startedAt) / 1000).toFixed(3));
      return await reply.code(alive ? 200 : 503).send({
        status: alive ? "ok" : "unavailable",
        model: { name: model.name, version: model.version },
        uptime_s: uptime,
      });
    },
  );
}
