import Type from "typebox";
import type { ServeApp, ServeContext } from "../context.ts";
import { renderHomePage } from "../../home-page/home-page.ts";
import { ModelName } from "../schemas.ts";

const Home = Type.Object({
  service: Type.Literal("serval"),
  model: ModelName,
  labels: Type.Array(Type.String()),
  links: Type.Record(Type.String(), Type.String()),
});

/** GET /: a page to try the model for a browser, a table of contents for any other client. */
export function registerHome(app: ServeApp, { slot, basePath }: ServeContext): void {
  app.get(
    "/",
    {
      config: { open: true },
      schema: {
        tags: ["operation"],
        summary: "A page for a browser, JSON for a client",
        response: {
          200: {
            description: "By the Accept header",
            content: { "application/json": { schema: Home }, "text/html": { schema: Type.String() } },
          },
        },
      },
    },
    async (request, reply) => {
      const { name, version, bundle, classifier } = slot.current;
      const { labels } = bundle.manifest;
      void reply.header("vary", "accept");
      if (request.headers.accept?.includes("text/html")) {
        const { html, contentSecurityPolicy } = renderHomePage({ name, version, labels, explains: classifier !== null, basePath });
        const headers = { "content-security-policy": contentSecurityPolicy, "referrer-policy": "no-referrer" };
        return await reply.headers(headers).type("text/html; charset=utf-8").send(html);
      }
      return await reply.type("application/json; charset=utf-8").send({
        service: "serval",
        model: { name, version },
        labels: [...labels],
        links: {
          predict: `${basePath}/predict`,
          explain: `${basePath}/explain`,
          feedback: `${basePath}/feedback`,
          health: `${basePath}/health`,
          model: `${basePath}/model`,
          metrics: `${basePath}/metrics`,
          docs: `${basePath}/docs`,
          openapi: `${basePath}/openapi.json`,
        },
      });
    },
  );
}
