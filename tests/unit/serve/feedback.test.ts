import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { DatabaseSync } from "node:sqlite";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startServal } from "../../helpers/serval-process.ts";
import { getJson, predictForm, readReply, startTestService, type JsonReply, type TestService } from "../../helpers/service.ts";
import { colourPicture, writeTinyBundle } from "../../helpers/tiny-bundle.ts";

let service: TestService;
beforeAll(async () => void (service = await startTestService()));
afterAll(async () => await service.close());

async function sendFeedback(url: string, body: unknown): Promise<JsonReply> {
  const init = {
    method: "POST",
    body: typeof body === "string" ? body : JSON.stringify(body),
    headers: { "content-type": "application/json" },
  };
  return await readReply(await fetch(`${url}/feedback`, init));
}

describe("POST /feedback", () => {
  it("stores a label beside the prediction: 202 when it is new, 200 when it was stored, the last one counts", async () => {
    const { request_id: id, probabilities } = (await predictForm(service, await colourPicture("red"))).body;
    const statuses: number[] = [];
    for (const label of ["blue", "blue", "red", "red"]) statuses.push((await sendFeedback(service.url, { request_id: id, label })).status);
    expect(statuses).toEqual([202, 200, 202, 200]);
    const db = new DatabaseSync(join(service.root, "predictions.db"), { readOnly: true });
    const row = db
      .prepare("SELECT p.*, f.label AS truth FROM predictions p JOIN feedback f USING (request_id) WHERE request_id = ?")
      .get(id);
    db.close();
    expect(row).toMatchObject({
      model_name: "colours",
      model_version: service.model.version,
      label: "red",
      confidence: probabilities.red,
      truth: "red",
    });
    expect(JSON.parse(row!["probabilities"] as string)).toEqual(probabilities);
  });

  it("knows a prediction at once", async () => {
    for (let i = 0; i < 20; i++) {
      const { request_id: id } = (await predictForm(service, await colourPicture("red", i))).body;
      expect((await sendFeedback(service.url, { request_id: id, label: "red" })).status).toBe(202);
    }
  });

  it("refuses what it cannot refer to anything: an unknown request, an unknown label, another shape", async () => {
    const { request_id: id } = (await predictForm(service, await colourPicture("red"))).body;
    for (const [body, status, code] of [
      [{ request_id: "none", label: "red" }, 404, "E_FEEDBACK_UNKNOWN"],
      [{ request_id: id, label: "purple" }, 400, "E_LABEL_UNKNOWN"],
      [{ request_id: id }, 400, "E_REQUEST"],
      [{ request_id: 7, label: ["red"] }, 400, "E_REQUEST"],
      ["{", 400, "E_REQUEST"],
      [{ request_id: "x".repeat(5000), label: "red" }, 413, "E_IMAGE_BYTES"],
    ] as const) {
      const reply = await sendFeedback(service.url, body);
      expect([body, reply.status, reply.body.error.code]).toEqual([body, status, code]);
    }
  });
});

it("serves without feedback where nothing can be written, and says why", async () => {
  const root = await mkdtemp(join(tmpdir(), "serval-feedback-"));
  await writeFile(join(root, "file"), "");
  const blind = await startTestService({ service: { predictionLogFile: join(root, "file", "predictions.db") } });
  const { status, body } = await predictForm(blind, await colourPicture("red"));
  expect([status, body.label]).toEqual([200, "red"]);
  const reply = await sendFeedback(blind.url, { request_id: body.request_id, label: "red" });
  expect([reply.status, reply.body.error.code]).toEqual([503, "E_PREDICTION_LOG"]);
  expect(await blind.logged((line) => line["code"] === "E_PREDICTION_LOG" && line["level"] === "error")).toMatchObject({
    msg: expect.stringContaining("predictions.db"),
  });
  await blind.close();
  await rm(root, { recursive: true });
});

it("stores what it answered, also when it has only just started and closes at once", async () => {
  const root = await mkdtemp(join(tmpdir(), "serval-brief-"));
  const file = join(root, "predictions.db");
  const brief = await startTestService({ service: { predictionLogFile: file } });
  const { request_id: id } = (await predictForm(brief, await colourPicture("red"))).body;
  await brief.close();
  const db = new DatabaseSync(file, { readOnly: true });
  expect(db.prepare("SELECT request_id FROM predictions").all()).toEqual([{ request_id: id }]);
  db.close();
  await rm(root, { recursive: true });
});

it("loses no feedback that it acknowledged when it is killed in the middle of many", async () => {
  const cwd = await mkdtemp(join(tmpdir(), "serval-killed-"));
  await mkdir(join(cwd, "models"));
  await writeTinyBundle(join(cwd, "models", "colours"));
  const serving = startServal(cwd, ["serve", "--port", "0"]);
  const url = await serving.address();
  const picture = await colourPicture("red");
  const acknowledged: string[] = [];
  const lane = async (): Promise<void> => {
    for (;;) {
      const { request_id: id } = (await predictForm({ url } as never, picture)).body;
      if ((await sendFeedback(url, { request_id: id, label: "blue" })).status === 202) acknowledged.push(id);
      if (acknowledged.length === 40) serving.child.kill("SIGKILL");
    }
  };
  await Promise.allSettled(Array.from({ length: 8 }, lane));
  expect((await serving.ended).code).toBe(null);
  expect(acknowledged.length).toBeGreaterThanOrEqual(40);
  const db = new DatabaseSync(join(cwd, ".serval", "predictions.db"));
  const found = new Set(
    db
      .prepare("SELECT request_id FROM feedback WHERE label = 'blue'")
      .all()
      .map((row) => row["request_id"] as string),
  );
  expect(acknowledged.filter((id) => !found.has(id))).toEqual([]);
  expect(db.prepare("PRAGMA integrity_check").get()).toEqual({ integrity_check: "ok" });
  db.close();
  // The next service continues with the same file.
  const again = startServal(cwd, ["serve", "--port", "0"]);
  const reply = await sendFeedback(await again.address(), { request_id: acknowledged[0], label: "blue" });
  expect(reply.status).toBe(200);
  expect((await again.stop()).code).toBe(0);
  await rm(cwd, { recursive: true });
});

it("says what it has", async () => {
  expect(
    (await getJson(service, "/openapi.json")).body.paths["/feedback"].post.requestBody.content["application/json"].schema.required,
  ).toEqual(["request_id", "label"]);
});
