import { mkdtemp, rm } from "node:fs/promises";
import { DatabaseSync } from "node:sqlite";
import { tmpdir } from "node:os";
import { join } from "node:path";
import sharp from "sharp";
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { defaultImageLimits } from "../../../src/image/check-image.ts";
import { preprocessImage } from "../../../src/image/preprocess-image.ts";
import { imageStatistics } from "../../../src/image/statistics.ts";
import { form, predictForm, startTestService, type TestService } from "../../helpers/service.ts";
import { readServable } from "../../../src/serve/model/served-model.ts";
import { colourPicture, writeTinyBundle } from "../../helpers/tiny-bundle.ts";

let service: TestService;
beforeAll(async () => void (service = await startTestService()));
afterAll(async () => await service.close());

async function send(path: string, method: string, body?: unknown): Promise<number> {
  const init = body === undefined ? { method } : { method, body: JSON.stringify(body), headers: { "content-type": "application/json" } };
  return (await fetch(`${service.url}${path}`, init)).status;
}

/** The newest facts of requests whose id begins so. */
async function factsOf(id: string): Promise<Record<string, unknown>[]> {
  // What is asked after them waits until they are stored.
  await send("/feedback", "POST", { request_id: "none", label: "red" });
  const db = new DatabaseSync(join(service.root, "predictions.db"), { readOnly: true });
  const rows = db.prepare("SELECT * FROM prediction_facts WHERE request_id LIKE ? || '%' ORDER BY request_id").all(id);
  db.close();
  return rows;
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

describe("what is stored of an answer", () => {
  it("has its route, the time of each phase, and what the picture looked like", async () => {
    const picture = await colourPicture("red");
    const { request_id: id, timings_ms: timings } = (await predictForm(service, picture)).body;
    const [facts] = await factsOf(id);
    const pixels = await preprocessImage(picture, service.bundle.manifest.preprocess, defaultImageLimits);
    const { width, height } = service.model.inputSize;
    const size = await sharp(picture).metadata();
    expect(facts).toMatchObject({
      route: "/predict",
      reason: null,
      width: size.width,
      height: size.height,
      outlier_score: null,
      embedding: null,
    });
    expect(facts).toMatchObject({ ...imageStatistics(pixels, width, height) });
    for (const phase of ["preprocess", "queue", "model"]) expect(facts?.[`${phase}_ms`]).toBeCloseTo(timings[phase], 2);
    expect(facts?.["total_ms"]).toBeGreaterThan((facts?.["model_ms"] ?? 0) as number);
  });

  it("has the reason where there was no label", async () => {
    const unsure = await startTestService({ bundle: { sharpness: 1, manifest: { abstainBelow: 0.9 } } });
    onTestFinished(async () => await unsure.close());
    const init = { method: "POST", body: form(["file", await colourPicture("red")]) };
    await fetch(`${unsure.url}/predict?abstain=true`, init);
    await fetch(`${unsure.url}/predict`, { method: "POST", body: form(["file", await colourPicture("red")]) });
    const file = join(unsure.root, "predictions.db");
    await fetch(`${unsure.url}/predictions/none`, { method: "DELETE" });
    const db = new DatabaseSync(file, { readOnly: true });
    const reasons = db.prepare("SELECT reason FROM predictions JOIN prediction_facts USING (request_id) ORDER BY at_ms, reason DESC").all();
    db.close();
    expect(new Set(reasons.map(({ reason }) => reason))).toEqual(new Set(["low_confidence", null]));
  });

  it("is there for each picture of a batch, for an explanation, and for each image of an inference request", async () => {
    const picture = await colourPicture("red");
    const batch = await fetch(`${service.url}/predict/batch`, { method: "POST", body: form(["file", picture], ["file", picture]) });
    await batch.text();
    const explained = await fetch(`${service.url}/explain`, { method: "POST", body: form(["file", picture]) });
    await explained.text();
    const { width, height } = service.model.inputSize;
    const data = [...new Uint8Array(2 * width * height * 3).fill(200, 0, width * height * 3)];
    const inputs = [{ name: "images", datatype: "UINT8", shape: [2, height, width, 3], data }];
    const inferred = await fetch(`${service.url}/v2/models/colours/infer`, { method: "POST", body: JSON.stringify({ inputs }) });
    const { outputs } = (await inferred.json()) as { outputs: { name: string; data: number[] }[] };
    const stored = async (answer: Response): Promise<unknown[]> => {
      const id = answer.headers.get("x-request-id") ?? "";
      return (await factsOf(id)).map(({ request_id, route, width, brightness }) => [
        String(request_id).replace(id, "ID"),
        route,
        width === null,
        (brightness as number).toFixed(3),
      ]);
    };
    const seen = (await stored(explained))[0] as unknown[];
    expect(await stored(batch)).toEqual([
      ["ID-0", "/predict/batch", false, seen[3]],
      ["ID-1", "/predict/batch", false, seen[3]],
    ]);
    expect(seen.slice(0, 3)).toEqual(["ID", "/explain", false]);
    expect(await stored(inferred)).toEqual([
      ["ID-0", "/v2/models/:model/infer", true, (200 / 255).toFixed(3)],
      ["ID-1", "/v2/models/:model/infer", true, "0.000"],
    ]);
    // Feedback finds them by the request's id and the place of the image.
    const id = `${inferred.headers.get("x-request-id")}-1`;
    expect(await send("/feedback", "POST", { request_id: id, label: "blue" })).toBe(202);
    const db = new DatabaseSync(join(service.root, "predictions.db"), { readOnly: true });
    const row = db.prepare("SELECT probabilities FROM predictions WHERE request_id = ?").get(id);
    db.close();
    const answered = outputs.find(({ name }) => name === "probabilities")?.data.slice(2) ?? [];
    const kept = JSON.parse(row?.["probabilities"] as string) as Record<string, number>;
    expect([kept["blue"], kept["red"]].map((p) => p?.toFixed(5))).toEqual(answered.map((p) => p.toFixed(5)));
  });
});

describe("a service that ends, or changes its model", () => {
  it("is scraped while it stops, and has stored what it answered meanwhile", async () => {
    const root = await mkdtemp(join(tmpdir(), "serval-stopping-"));
    onTestFinished(async () => await rm(root, { recursive: true }));
    const file = join(root, "predictions.db");
    const stopping = await startTestService({ service: { drainMs: 500, predictionLogFile: file } });
    const picture = await colourPicture("red");
    const before = (await predictForm(stopping, picture)).body.request_id as string;
    const closed = stopping.close();
    const during = (await predictForm(stopping, picture)).body.request_id as string;
    const scrape = await fetch(`${stopping.url}/metrics`);
    expect([scrape.status, await scrape.text()]).toEqual([200, expect.stringContaining("serval_predictions_waiting 0")]);
    await closed;
    const db = new DatabaseSync(file, { readOnly: true });
    const ids = db.prepare("SELECT request_id FROM predictions").all();
    db.close();
    expect(new Set(ids.map((row) => row["request_id"]))).toEqual(new Set([before, during]));
  });

  it("stores the version that answered, and takes feedback about the answers of either", async () => {
    const first = (await predictForm(service, await colourPicture("red"))).body;
    const { dir } = await writeTinyBundle(join(service.root, "next"), { sharpness: 3 });
    expect(await service.slot.offer({ version: "2", load: async () => await readServable(dir, "2") })).toBe("swapped");
    const second = (await predictForm(service, await colourPicture("red"))).body;
    expect(first.model.version).not.toBe(second.model.version);
    expect([
      await send("/feedback", "POST", { request_id: first.request_id, label: "blue" }),
      await send("/feedback", "POST", { request_id: second.request_id, label: "blue" }),
    ]).toEqual([202, 202]);
    const db = new DatabaseSync(join(service.root, "predictions.db"), { readOnly: true });
    const version = (id: string): unknown => db.prepare("SELECT model_version AS v FROM predictions WHERE request_id = ?").get(id)?.["v"];
    expect([version(first.request_id), version(second.request_id)]).toEqual([first.model.version, second.model.version]);
    db.close();
  });
});
