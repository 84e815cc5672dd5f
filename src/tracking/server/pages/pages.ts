import type { FastifyReply } from "fastify";
import type { TrackingApp, TrackingContext } from "../context.ts";
import { toProtocolError } from "../refusal.ts";
import { registerExperimentPages } from "./experiment-pages.ts";
import { html } from "./html.ts";
import { sendPage } from "./layout.ts";
import { registerModelPages } from "./model-pages.ts";
import { registerRunPages } from "./run-pages.ts";

/** The pages for people. They only read, so that a link cannot change anything. */
export function registerPages(app: TrackingApp, context: TrackingContext): void {
  app.setErrorHandler((error, request, reply): FastifyReply => {
    const { status, body } = toProtocolError(error);
    if (status >= 500) request.log.error({ err: error, url: request.routeOptions.url }, body.message);
    return sendPage(
      reply,
      "Error",
      html`<h1>That did not work</h1>
        <p class="error">${body.message}</p>`,
      status,
    );
  });
  registerExperimentPages(app, context);
  registerRunPages(app, context);
  registerModelPages(app, context);
}
