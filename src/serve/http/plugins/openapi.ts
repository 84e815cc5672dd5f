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
export async function registerOpenapi(app: ServeApp, { slot, basePath }: ServeContext): Promise<void> {
  await app.register(swagger, {
    openapi: {
      openapi: "3.1.0",
      info: { title: "Serval", version: "" },
      tags: [
        { name: "predictions", description: "Ask the model." },
        { name: "model", description: "The served model, and whether it still gives the expected answers." },
        { name: "inference protocol", description: "The Open Inference Protocol, version 2, for clients of other servers." },
        { name: "operation", description: "For load balancers and Prometheus." },
      ],
      components: {
        securitySchemes: {
          key: { type: "http", scheme: "bearer", description: "Where the service has API keys. `X-API-Key: KEY` does as well." },
        },
      },
    },
    transform: ({ schema, url, route }) => {
      const requestBody = route.config?.requestBody;
      const documented: FastifySchema = requestBody === undefined ? schema : { ...schema, body: { content: requestBody } };
      return { schema: documented, url };
    },
  });
  /** The description with the model that answers now, and where the routes begin. */
  const describeNow = (root: string) => {
    const { name, version, bundle } = slot.current;
    const description = `Image classification with the model ${name}: ${bundle.manifest.labels.join(", ")}.`;
    const { info, ...rest } = app.swagger();
    return { ...rest, info: { ...info, version, description }, servers: [{ url: root }] };
  };
  // The library's one redirect leads to an absolute address, which a proxy may show something else at.
  app.addHook("onSend", (request, reply, _payload, done) => {
    if (request.routeOptions.url === "/docs/static/index.html") void reply.header("location", "../");
    done();
  });
  await app.register(swaggerUi, {
    routePrefix: "/docs",
    // The page names its files relative to itself: behind a proxy it need not know its own address.
    indexPrefix: ".",
    // The page reads this from below /docs, and takes the address as relative to that.
    transformSpecification: () => describeNow(basePath === "" ? ".." : basePath),
    transformSpecificationClone: false,
    theme: { title: "Serval API", css: [{ filename: "serval.css", content: ".swagger-ui .topbar { display: none }" }] },
    uiConfig: { tryItOutEnabled: true, displayRequestDuration: true, defaultModelsExpandDepth: 0 },
    staticCSP: {
      "default-src": "'self'",
      "img-src": "'self' blob: data:",
      "style-src": "'self' 'unsafe-inline'",
      "frame-ancestors": "'none'",
    },
  });
  app.get("/openapi.json", { config: { open: true }, schema: { hide: true } }, () => describeNow(basePath === "" ? "/" : basePath));
}
