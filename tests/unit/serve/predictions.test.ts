import { DatabaseSync } from "node:sqlite";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { predictForm, startTestService, type TestService } from "../../helpers/service.ts";
import { colourPicture } from "../../helpers/tiny-bundle.ts";

let service: TestService;
beforeAll(async () => void (service = await startTestService()));
afterAll(async () => await service.close());

async function send(path: string, method: string, body?: unknown): Promise<number> {
  const init = body === undefined ? { method } : { method, body: JSON.stringify(body), headers: { "content-type": "application/json" } };
  return (await fetch(`${service.url}${path}`, init)).status;
}

function rowsOf(id: string): unknown {
  const db = new DatabaseSync(join(service.root, "predictions.db"), { readOnly: true });
  const count = (table: string): unknown => db.prepare(`SELECT count(*) AS n FROM ${table} WHERE request_id = ?`).get(id)?.["n"];
  const counts = ["predictions", "feedback"].map(count);
  db.close();
  return counts;
}

describe("DELETE /predictions/ID", () => {
  it("removes a prediction and its feedback: 204, and then it is unknown", async () => {
    const { request_id: id } = (await predictForm(service, await colourPicture("red"))).body;
    expect(await send("/feedback", "POST", { request_id: id, label: "blue" })).toBe(202);
    expect(rowsOf(id)).toEqual([1, 1]);
    expect(await send(`/predictions/${id}`, "DELETE")).toBe(204);
    expect(rowsOf(id)).toEqual([0, 0]);
    expect(await send("/feedback", "POST", { request_id: id, label: "blue" })).toBe(404);
    expect(await send(`/predictions/${id}`, "DELETE")).toBe(404);
    expect(await send(`/predictions/${"x".repeat(65)}`, "DELETE")).toBe(400);
  });

  it("finds a prediction that was made a moment ago", async () => {
    const { request_id: id } = (await predictForm(service, await colourPicture("red"))).body;
    expect(await send(`/predictions/${id}`, "DELETE")).toBe(204);
    expect(rowsOf(id)).toEqual([0, 0]);
  });
});
