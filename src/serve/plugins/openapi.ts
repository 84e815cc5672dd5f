import swagger from "@fastify/swagger";
import swaggerUi from "@fastify/swagger-ui";
import type { FastifySchema } from "fastify";
import type { ServeApp, ServeContext } from "../context.ts";

declare module "fastify" {
  interface FastifyContextConfig {
    /** OpenAPI request body of a route that reads its body as a stream: content type -> schema. */
    requestBody?: Readonly<Record<string, { readonly schema: unknown }>>;
  }
}

/** /openapi.json from the schemas that the routes validate with, and /docs to read and try it. Before the routes. */
export async function registerOpenapi(app: ServeApp, { model }: ServeContext): Promise<void> {
  await app.register(swagger, {
    openapi: {
      openapi: "3.1.0",
      info: {
        title: "Serval",
        version: model.version,
        description: `Image classification with the model ${model.name}: ${model.bundle.manifest.labels.join(", ")}.`,
      },
      tags: [
        { name: "predictions", description: "Ask the model." },
        { name: "model", description: "What answers, and whether it still answers as it should." },
        { name: "operation", description: "For load balancers and Prometheus." },
      ],
    },
    transform: ({ schema, url, route }) => {
      const requestBody = route.config?.requestBody;
      const documented: FastifySchema = requestBody === undefined ? schema : { ...schema, body: { content: requestBody } };
      return { schema: documented, url };
    },
  });
  await app.register(swaggerUi, {
    routePrefix: "/docs",
    theme: { title: "Serval API", css: [{ filename: "serval.css", content: ".swagger-ui .topbar { display: none }" }] },
    uiConfig: { tryItOutEnabled: true, displayRequestDuration: true, defaultModelsExpandDepth: 0 },
    staticCSP: { "default-src": "'self'", "img-src": "'self' data:", "style-src": "'self' 'unsafe-inline'", "frame-ancestors": "'none'" },
  });
  app.get("/openapi.json", { schema: { hide: true } }, () => app.swagger());
}
