import { existsSync } from "node:fs";
import { cp, readFile, writeFile } from "node:fs/promises";
import { DatabaseSync } from "node:sqlite";
import { join } from "node:path";
import { chromium } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { runCli } from "../../src/cli/main.ts";
import { openShards } from "../../src/data/shards.ts";
import { loadBundle, type Bundle } from "../../src/model/bundle.ts";
import { readFeatureSpace, readReferencePlaces } from "../../src/model/feature-space.ts";
import { storedPrediction, storedColumns, type StoredPrediction } from "../../src/predictions/prediction-store.ts";
import { makeColourRepository, shadedPicture, type ColourRepository } from "../helpers/colour-repository.ts";
import { recordedContext } from "../helpers/recorded-output.ts";
import { form, getJson, predictForm, readReply, startTestService, type JsonReply, type TestService } from "../helpers/service.ts";
import { writeTinyBundle } from "../helpers/tiny-bundle.ts";

let repository: ColourRepository;
let before: Bundle;
let bundle: Bundle;
let service: TestService;
/** Blue, cyan and red are what the model knows. */
let [red, green]: Uint8Array[] = [];

async function refit(dir: string): Promise<{ code: number; err: string }> {
  const context = recordedContext(repository.cwd);
  const code = await runCli(["export", "--refit", "--model", dir], context);
  return { code, err: context.stderr.text };
}

beforeAll(async () => {
  repository = await makeColourRepository({
    counts: { blue: 40, cyan: 40, red: 40 },
    prepare: { shares: { train: 0.4, val: 0.5, test: 0.1 } },
  });
  const shards = await openShards(join(repository.cwd, "data", "processed"));
  const { seed, shares, dedupe, dataVersion } = shards;
  shards.close();
  const dir = join(repository.cwd, "models", "colours");
  before = await writeTinyBundle(dir, { labels: ["blue", "cyan", "red"], manifest: { dataVersion, split: { seed, shares, dedupe } } });
  expect(await refit("models/colours")).toMatchObject({ code: 0 });
  bundle = await loadBundle(dir);
  service = await startTestService({ service: { modelDir: dir } });
  [red, green] = [await shadedPicture("red", 3), await shadedPicture("green", 3)];
});
afterAll(async () => {
  await service?.close();
  await repository?.remove();
});

async function predict(picture: Uint8Array | undefined, query = ""): Promise<JsonReply> {
  const body = form(["file", picture ?? new Uint8Array()]);
  return await readReply(await fetch(`${service.url}/predict${query}`, { method: "POST", body }));
}

async function stored(id: string): Promise<StoredPrediction[]> {
  // What is asked after them waits until they are stored.
  await fetch(`${service.url}/predictions/none`, { method: "DELETE" });
  const db = new DatabaseSync(join(service.root, "predictions.db"), { readOnly: true });
  const rows = db.prepare(`SELECT ${storedColumns} WHERE p.request_id LIKE ? || '%' ORDER BY p.request_id`).all(id);
  db.close();
  return rows.map((row) => storedPrediction(row));
}

describe("serval export --refit", () => {
  it("adds score, projection and reference, and leaves the model and its answers as they are", async () => {
    const { outlierScore, embeddingProjection, formatVersion, reference, files, checks } = bundle.manifest;
    expect(formatVersion).toBe(2);
    expect(outlierScore).toMatchObject({ method: "nearest-neighbours", k: 5 });
    expect(embeddingProjection).toMatchObject({ size: 32, channels: 3 });
    expect(reference).toMatchObject({ answers: { predicted: { blue: expect.closeTo(0.33, 1) as number } } });
    expect(files).toMatchObject(before.manifest.files);
    expect(checks).toEqual(before.manifest.checks);
    const places = await readReferencePlaces(bundle);
    const shards = await openShards(join(repository.cwd, "data", "processed"));
    expect(places?.embeddings).toHaveLength(shards.splits.val.count);
    shards.close();
    const threshold = (await readFeatureSpace(bundle))?.outliers?.threshold ?? Infinity;
    const kept = places?.outlierScores.filter((score) => score <= Math.fround(threshold)).length ?? 0;
    expect(kept).toBe(Math.ceil(0.98 * (places?.embeddings.length ?? 0)));
  });

  it("gives the same bundle again", async () => {
    expect(await refit("models/colours")).toMatchObject({ code: 0 });
    expect((await loadBundle(bundle.dir)).digest).toBe(bundle.digest);
  });

  it("refuses data that the model was not trained on", async () => {
    const other = await writeTinyBundle(join(repository.cwd, "other"));
    const { code, err } = await refit("other");
    expect(code).toBe(3);
    expect(err).toMatch(
      /^E_MODEL_DATA: The model in .*other was trained with the data version "0{64}", but the prepared data has "[0-9a-f]{64}"/,
    );
    expect((await loadBundle(other.dir)).digest).toBe(other.digest);
  });
});

describe("a picture that is like none of the training", () => {
  it("gets no label where the service abstains, and the one that it would have got elsewhere", async () => {
    expect((await predict(green, "?abstain=true")).body).toMatchObject({ label: null, reason: "unknown_input" });
    const { body } = await predict(green);
    expect(["blue", "cyan", "red"]).toContain(body.label);
    expect(body).not.toHaveProperty("reason");
    expect((await predict(red, "?abstain=true")).body).toMatchObject({ label: "red" });
  });

  it("gets none in a batch either", async () => {
    const body = form(["file", red ?? ""], ["file", green ?? ""]);
    const lines = (await (await fetch(`${service.url}/predict/batch?abstain=true`, { method: "POST", body })).text()).trim().split("\n");
    const results = lines.map((line) => (JSON.parse(line) as { result: { label: string | null; reason?: string } }).result);
    expect(results.map(({ label, reason }) => [label, reason])).toEqual([
      ["red", undefined],
      [null, "unknown_input"],
    ]);
  });

  it("has a score above that of GET /model in an inference request, which is a tensor on request", async () => {
    const { width, height } = service.model.inputSize;
    const pixels = (colour: number[]): number[] => Array.from({ length: width * height }, () => colour).flat();
    const inputs = [
      { name: "images", datatype: "UINT8", shape: [2, height, width, 3], data: [...pixels([200, 0, 0]), ...pixels([0, 200, 0])] },
    ];
    const ask = { method: "POST", body: JSON.stringify({ inputs, outputs: [{ name: "outlier_score" }] }) };
    const { body } = await readReply(await fetch(`${service.url}/v2/models/colours/infer`, ask));
    const [output] = body.outputs;
    expect(output).toMatchObject({ name: "outlier_score", shape: [2] });
    const { unknown_above: threshold } = (await getJson(service, "/model")).body;
    expect(output.data[0]).toBeLessThanOrEqual(threshold);
    expect(output.data[1]).toBeGreaterThan(threshold);
    expect((await getJson(service, "/v2/models/colours")).body.outputs).toContainEqual({
      name: "outlier_score",
      datatype: "FP32",
      shape: [-1],
    });
  });

  it("is counted, also where it was answered", async () => {
    const count = async (): Promise<number> =>
      Number(/^serval_unknown_inputs_total\{.*\} (\d+)$/m.exec(await (await fetch(`${service.url}/metrics`)).text())?.[1]);
    const start = await count();
    await predict(green);
    await predict(green, "?abstain=true");
    await predict(red);
    expect(await count()).toBe(start + 2);
  });
});

const executablePath = ["/usr/bin/chromium", "/usr/bin/google-chrome", "/usr/bin/chromium-browser"].find((path) => existsSync(path));

describe.skipIf(executablePath === undefined)("the page at / of a service that abstains", () => {
  it("says in words that the picture is like none that the model learned from", async () => {
    const abstaining = await startTestService({ service: { modelDir: bundle.dir, abstain: { whenUnsure: true } } });
    const browser = await chromium.launch({ executablePath: executablePath ?? "", args: ["--no-sandbox"] });
    const page = await browser.newPage();
    await page.goto(abstaining.url);
    await page.setInputFiles("#input", { name: "green.jpg", mimeType: "image/jpeg", buffer: Buffer.from(green ?? []) });
    await page.getByText(/^Answered in/).waitFor();
    expect(await page.locator("h2").innerText()).toBe("This looks like none of the pictures that the model learned from");
    expect(await page.locator(".bars .row").count()).toBe(3);
    await browser.close();
    await abstaining.close();
  });
});

describe("what is stored of an answer", () => {
  it("has the score, the reason, and an embedding that is close for pictures that are alike", async () => {
    const ids = [await predict(red), await predict(green, "?abstain=true")].map(({ body }) => body.request_id as string);
    const rows = (await Promise.all(ids.map(stored))).flat();
    const threshold = (await getJson(service, "/model")).body.unknown_above as number;
    expect(rows.map(({ facts }) => [facts?.reason, (facts?.outlierScore ?? NaN) > threshold])).toEqual([
      [null, false],
      ["unknown_input", true],
    ]);
    const places = await readReferencePlaces(bundle);
    const nearest = rows.map(({ facts }) =>
      Math.min(...(places?.embeddings ?? []).map((one) => Math.hypot(...one.map((value, k) => value - (facts?.embedding?.[k] ?? NaN))))),
    );
    expect(nearest[0]).toBeLessThan(0.5);
    expect(nearest[1]).toBeGreaterThan(nearest[0]! * 2);
  });

  it("is there for images of an inference request", async () => {
    const { width, height } = service.model.inputSize;
    const data = Array.from({ length: width * height }, () => [0, 200, 0]).flat();
    const inputs = [{ name: "images", datatype: "UINT8", shape: [1, height, width, 3], data }];
    const ask = { method: "POST", body: JSON.stringify({ inputs, outputs: [{ name: "outlier_score" }] }) };
    const { headers, body } = await readReply(await fetch(`${service.url}/v2/models/colours/infer`, ask));
    const [row] = await stored(headers.get("x-request-id") ?? "none");
    expect(row?.facts?.outlierScore).toBeCloseTo(body.outputs[0].data[0], 6);
    expect(row?.facts?.embedding).toHaveLength(32);
  });
});

describe("a bundle without a score", () => {
  it("is served as before: it answers every picture, and says so", async () => {
    const plain = await startTestService();
    const { body } = await predictForm(plain, green ?? new Uint8Array());
    expect(body.label).not.toBeNull();
    expect((await getJson(plain, "/model")).body.unknown_above).toBeNull();
    const inputs = [{ name: "images", datatype: "UINT8", shape: [1, 12, 16, 3], data: Array(12 * 16 * 3).fill(9) }];
    const ask = { method: "POST", body: JSON.stringify({ inputs, outputs: [{ name: "outlier_score" }] }) };
    const refused = await readReply(await fetch(`${plain.url}/v2/models/colours/infer`, ask));
    expect([refused.status, refused.body.error]).toEqual([400, expect.stringContaining("has no outlier_score")]);
    await plain.close();
  });

  it("is refused where its numbers are not those that it says", async () => {
    const dir = join(repository.cwd, "damaged");
    await cp(bundle.dir, dir, { recursive: true });
    const manifest = JSON.parse(await readFile(join(dir, "bundle.json"), "utf8")) as { embeddingProjection: { channels: number } };
    manifest.embeddingProjection.channels = 4;
    await writeFile(join(dir, "bundle.json"), JSON.stringify(manifest));
    await expect(readFeatureSpace(await loadBundle(dir))).rejects.toThrow('feature-space.safetensors: expected 4 numbers "centre", got 3.');
  });
});
