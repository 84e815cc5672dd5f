import type { TrackingApp } from "../context.ts";

/** The release of MLflow whose client this server is tested with; the client asks, to know what the server can do. */
const mlflowVersion = "3.17.2";

/** What clients and load balancers ask before they begin. */
export function registerServerInfo(app: TrackingApp): void {
  app.get("/health", (_request, reply) => reply.type("text/plain; charset=utf-8").send("OK"));
  app.get("/version", (_request, reply) => reply.type("text/plain; charset=utf-8").send(mlflowVersion));
  for (const api of ["/api/3.0", "/ajax-api/3.0"]) {
    app.get(`${api}/mlflow/server-info`, () => ({
      store_type: "SqlStore",
      workspaces_enabled: false,
      trace_archival_enabled: false,
      multipart_uploads_enabled: false,
      multipart_downloads_enabled: false,
      presigned_upload_run_id_supported: false,
      presigned_upload_model_id_supported: false,
    }));
  }
}
