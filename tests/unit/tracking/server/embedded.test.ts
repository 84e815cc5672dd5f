import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { createTrackingClient } from "../../../../src/tracking/client/tracking-client.ts";
import { openEmbeddedTracking } from "../../../../src/tracking/server/tracking-server.ts";
import { ask, get, temporaryFolder } from "../../../helpers/tracking-server.ts";

test("the client of a training logs a whole run to an embedded server, and `serval track` on the same folder shows it", async () => {
  const dir = join(await temporaryFolder(), ".serval/tracking");
  const embedded = await openEmbeddedTracking(dir);
  onTestFinished(async () => embedded.close());
  const client = createTrackingClient(embedded.url);
  const experimentId = await client.ensureExperiment("flowers");
  expect(await client.ensureExperiment("flowers")).toBe(experimentId);
  const run = await client.createRun({
    experimentId,
    name: "20261124-201500-a1b2",
    startTime: 1000,
    tags: [{ key: "serval.run", value: "20261124-201500-a1b2" }],
  });
  await client.logBatch(run.runId, {
    metrics: [{ key: "val_loss", value: Number.NaN, timestamp: 2000, step: 1 }],
    params: [{ key: "train.epochs", value: "3" }],
  });
  await client.uploadArtifact(run.artifactUri, "models/best/größe.txt", new Blob(["text"]));
  await client.updateRun(run.runId, "FINISHED", 3000);
  expect(await client.findRun(experimentId, { key: "serval.run", value: "20261124-201500-a1b2" })).toEqual(run);

  // A second server, as a person starts one to look at what the training logs.
  const second = await openEmbeddedTracking(dir);
  onTestFinished(async () => second.close());
  const { body } = await get(second.url, "runs/get", { run_id: run.runId });
  expect(body.run.info).toMatchObject({ run_name: "20261124-201500-a1b2", status: "FINISHED", start_time: 1000, end_time: 3000 });
  expect(body.run.data).toMatchObject({
    metrics: [{ key: "val_loss", value: "NaN", timestamp: 2000, step: 1 }],
    params: [{ key: "train.epochs", value: "3" }],
  });
  expect((await get(second.url, "artifacts/list", { run_id: run.runId, path: "models/best" })).body.files).toEqual([
    { path: "models/best/größe.txt", is_dir: false, file_size: 4 },
  ]);
  const page = await ask(new URL(client.pageOf(run).replace(embedded.url, second.url)).href);
  expect([page.status, page.body]).toEqual([200, expect.stringContaining("flowers")]);
});
