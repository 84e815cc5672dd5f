import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { post, startTracking } from "../../../helpers/tracking-server.ts";

test("docs/tracking.md lists the endpoints of the API with their state: those that are there, and those that are not", async () => {
  const { app, url } = await startTracking();
  const text = readFileSync(join(import.meta.dirname, "../../../../docs/tracking.md"), "utf8");
  const [, api = "", proxy = ""] = /### The API([\s\S]*)The proxy for files([\s\S]*?)## A real MLflow/.exec(text) ?? [];
  let listed = 0;
  for (const [section, prefix] of [
    [api, "/api/2.0/mlflow"],
    [proxy, "/api/2.0/mlflow-artifacts"],
  ] as const) {
    for (const [, cell = "", state = ""] of section.matchAll(/^\| (`.*`) \| (.*) \|$/gm)) {
      for (const [, method = "", path = ""] of cell.matchAll(/`([A-Z]+) (\/[^`]+)`/g)) {
        listed++;
        expect([method, path, app.hasRoute({ method, url: prefix + path })]).toEqual([method, path, !state.startsWith("not there")]);
      }
    }
  }
  expect(listed).toBeGreaterThan(60);
  const unknown = await post(url, "traces/search", {});
  expect([unknown.status, unknown.body.error_code]).toEqual([404, "ENDPOINT_NOT_FOUND"]);
});
