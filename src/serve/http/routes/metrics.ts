import Type from "typebox";
import type { ServeApp, ServeContext } from "../context.ts";

/** GET /metrics, for Prometheus. */
export function registerMetrics(app: ServeApp, { metrics }: ServeContext): void {
  const schema = {
    tags: ["operation"],
    summary: "Metrics for Prometheus",
    response: { 200: { description: "Prometheus text format", content: { "text/plain": { schema: Type.String() } } } },
  };
  app.get(
    "/metrics",
    { config: { open: true }, schema },
    async (_request, reply) => await reply.type(metrics.contentType).send(await metrics.render()),
  );
}
