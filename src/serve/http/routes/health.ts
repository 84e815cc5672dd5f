import Type from "typebox";
import type { ServeApp, ServeContext } from "../context.ts";
import { ModelName } from "../schemas.ts";

const Health = Type.Object({
  status: Type.Union([Type.Literal("ok"), Type.Literal("unavailable"), Type.Literal("stopping")]),
  model: ModelName,
  uptime_s: Type.Number({ description: "Seconds since the service started." }),
});

/**
 * GET /health and /health/ready: 200 while the model answers and the service was not asked to stop, else 503.
 * /health/live: 200 while the process answers at all. Cheap: none runs the model.
 */
export function registerHealth(app: ServeApp, { slot, draining }: ServeContext): void {
  const startedAt = performance.now();
  for (const [path, summary] of [
    ["/health", "Whether the service can answer"],
    ["/health/ready", "Whether to send requests here"],
  ] as const) {
    app.get(
      path,
      { config: { open: true }, schema: { tags: ["operation"], summary, response: { 200: Health, 503: Health } } },
      async (_request, reply) => {
        const { name, version, answering } = slot.current;
        const status = draining() ? "stopping" : answering ? "ok" : "unavailable";
        return await reply.code(status === "ok" ? 200 : 503).send({
          status,
          model: { name, version },
          uptime_s: Number(((performance.now() - startedAt) / 1000).toFixed(3)),
        });
      },
    );
  }
  app.get(
    "/health/live",
    {
      config: { open: true },
      schema: {
        tags: ["operation"],
        summary: "Whether the process is alive",
        response: { 200: Type.Object({ status: Type.Literal("ok") }) },
      },
    },
    () => ({ status: "ok" as const }),
  );
}
