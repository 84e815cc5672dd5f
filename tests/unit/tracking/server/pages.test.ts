import { createHash } from "node:crypto";
import { expect, test } from "vitest";
import { ask, createRun, post, startTracking } from "../../../helpers/tracking-server.ts";

async function page(url: string, path: string): Promise<{ status: number; text: string; policy: string }> {
  const response = await fetch(url + path);
  return { status: response.status, text: await response.text(), policy: response.headers.get("content-security-policy") ?? "" };
}

/** The texts of the table's cells, row by row. */
function cells(text: string): string[][] {
  const rows = [...text.matchAll(/<tr[^>]*>([\s\S]*?)<\/tr>/g)];
  return rows.map(([, row = ""]) =>
    [...row.matchAll(/<t[dh][^>]*>([\s\S]*?)<\/t[dh]>/g)].map(([, cell = ""]) =>
      cell
        .replaceAll(/<[^>]*>|\s+/g, " ")
        .replaceAll(/\s+/g, " ")
        .trim(),
    ),
  );
}

test("what was logged is on the pages as text, never as markup, and the policy allows exactly their own style and script", async () => {
  const { url } = await startTracking();
  const evil = '<img src=x onerror="alert(1)">';
  const run = await createRun(url, evil);
  await post(url, "runs/log-batch", {
    run_id: run,
    metrics: [1, 2, 3].map((step) => ({ key: "loss", value: step, timestamp: 1, step })),
    params: [{ key: "p", value: evil }],
    tags: [{ key: "mlflow.note.content", value: "<script>alert(2)</script>" }],
  });
  await ask(`${url}/api/2.0/mlflow-artifacts/artifacts/0/${run}/artifacts/${encodeURIComponent("<b>.png")}`, { method: "PUT", body: "x" });
  for (const path of [
    "/",
    "/experiments/0",
    `/runs/${run}`,
    `/compare?run=${run}`,
    "/models",
    `/experiments/0?filter=${encodeURIComponent(evil)}`,
    "/runs/nothing",
  ]) {
    const { text, policy } = await page(url, path);
    expect([path, text.includes(evil), text.includes("<script>alert"), text.includes("<b>")]).toEqual([path, false, false, false]);
    for (const [, tag, content = ""] of text.matchAll(/<(style|script)>([\s\S]*?)<\/\1>/g)) {
      const hash = createHash("sha256").update(content).digest("base64");
      expect([path, tag, policy.includes(`${tag}-src 'sha256-${hash}'`)]).toEqual([path, tag, true]);
    }
  }
  expect((await page(url, `/runs/${run}`)).text).toContain("&lt;img src=x onerror=&quot;alert(1)&quot;&gt;");
});

test("the runs of an experiment are filtered and sorted by what the address says, and a wrong filter is reported on the page", async () => {
  const { url } = await startTracking();
  for (const [name, loss] of [
    ["first", 0.3],
    ["second", 0.1],
    ["third", 0.2],
  ] as const) {
    const run = await createRun(url, name);
    await post(url, "runs/log-metric", { run_id: run, key: "loss", value: loss, timestamp: 1, step: 1 });
  }
  const names = async (query: string): Promise<string[]> => {
    const { text } = await page(url, `/experiments/0?${query}`);
    return cells(text)
      .slice(1)
      .map((row) => row[1] ?? "");
  };
  expect(await names(new URLSearchParams({ order: "metrics.`loss` ASC" }).toString())).toEqual(["second", "third", "first"]);
  expect(await names(new URLSearchParams({ order: "metrics.`loss` DESC", filter: "metrics.loss < 0.3" }).toString())).toEqual([
    "third",
    "second",
  ]);
  const wrong = await page(url, `/experiments/0?filter=${encodeURIComponent("metrics.loss <")}`);
  expect([wrong.status, wrong.text]).toEqual([200, expect.stringContaining("expected a number for metrics.loss, got its end")]);
});

test("two runs stand side by side with what differs marked, and their curves are drawn into one picture", async () => {
  const { url } = await startTracking();
  const runs = await Promise.all(["left", "right"].map(async (name) => createRun(url, name)));
  for (const [i, run] of runs.entries()) {
    const metrics = Array.from({ length: 5 }, (_, step) => ({ key: "loss", value: 1 / (step + 1 + i), timestamp: step, step }));
    await post(url, "runs/log-batch", {
      run_id: run,
      metrics,
      params: [
        { key: "same", value: "1" },
        { key: "rate", value: String(i) },
      ],
    });
  }
  await post(url, "runs/log-metric", { run_id: runs[0], key: "seconds", value: 3, timestamp: 1, step: 9 });
  const query = runs.map((run) => `run=${run}`).join("&");
  const { text } = await page(url, `/compare?${query}`);
  expect(cells(text)).toEqual(
    expect.arrayContaining([
      ["rate", "0", "1"],
      ["same", "1", "1"],
      ["loss", "0.2", "0.16667"],
    ]),
  );
  expect([...text.matchAll(/class="differs"\s*>\s*<td[^>]*>\s*([^<\s]+)/g)].map((match) => match[1])).toEqual(
    expect.arrayContaining(["loss", "rate"]),
  );
  // One point is not a curve.
  expect([...text.matchAll(/alt="Curve of ([^"]*)"/g)].map((match) => match[1])).toEqual(["loss"]);
  const chart = await page(url, `/chart?${query}&metric=loss`);
  expect(chart.text).toMatch(/^<svg[\s\S]*>left<[\s\S]*>right<[\s\S]*>loss</);
});

test("a registered model's page names its versions, newest first, with their aliases", async () => {
  const { url } = await startTracking();
  await post(url, "registered-models/create", { name: "my model" });
  for (const source of ["s3://b/1", "s3://b/2"]) await post(url, "model-versions/create", { name: "my model", source });
  await post(url, "registered-models/alias", { name: "my model", alias: "champion", version: "1" });
  const list = await page(url, "/models");
  expect(cells(list.text)[1]?.slice(0, 3)).toEqual(["my model", "2", "champion → 1"]);
  const { text } = await page(url, "/models/my%20model");
  expect(
    cells(text)
      .slice(1)
      .map((row) => [row[0], row[1], row[5]]),
  ).toEqual([
    ["2", "", "s3://b/2"],
    ["1", "champion", "s3://b/1"],
  ]);
  expect((await page(url, "/models/unknown")).status).toBe(404);
});
