import { describe, expect, test } from "vitest";
import { ServalError } from "../../../../src/errors/serval-error.ts";
import { toProtocolError } from "../../../../src/tracking/server/refusal.ts";
import { ask, createRun, get, post, startTracking, type Answer } from "../../../helpers/tracking-server.ts";

/** So long that the body is parsed in a thread. */
const long = "x".repeat(100_000);

async function send(url: string, name: string, body: string): Promise<Answer> {
  return await ask(`${url}/api/2.0/mlflow/${name}`, { method: "POST", headers: { "content-type": "application/json" }, body });
}

describe("a body", () => {
  test("means the same whether it is parsed in a thread or not: null is a member that is not there", async () => {
    const { url } = await startTracking();
    for (const value of ["short", long]) {
      const { body } = await post(url, "runs/create", {
        experiment_id: "0",
        run_name: null,
        tags: [
          { key: "a", value },
          { key: "b", value: null },
        ],
      });
      const tags = body.run.data.tags as { key: string; value: string }[];
      expect(tags.map(({ key, value }) => [key, value.slice(0, 5)])).toEqual([
        ["a", value.slice(0, 5)],
        ["b", ""],
        ["mlflow.runName", expect.any(String)],
      ]);
    }
  });

  test("that is not an object, not JSON or too large says so, however long it is", async () => {
    const { url } = await startTracking();
    for (const text of ["", long]) {
      expect((await send(url, "runs/create", `["${text}"]`)).body).toEqual({
        error_code: "BAD_REQUEST",
        message: "The body: expected a JSON object.",
      });
      const broken = await send(url, "runs/create", `{"a":"${text}"`);
      expect([broken.status, broken.body.message]).toEqual([400, expect.stringMatching(/^The body is not JSON: /)]);
      const deep = await send(url, "runs/create", `{"a":"${text}","b":${"[".repeat(100)}${"]".repeat(100)}}`);
      expect([deep.status, deep.body]).toEqual([
        400,
        {
          error_code: "BAD_REQUEST",
          message: "The body is too large: expected at most 64 lists and objects inside each other. Send it in several requests.",
        },
      ]);
    }
    const huge = await send(url, "runs/create", " ".repeat(5 * 1024 * 1024));
    expect([huge.status, huge.body.message]).toEqual([400, "The body has more than 4194304 bytes. Send it in several requests."]);
  });

  test("of spaces is one without members", async () => {
    const { url } = await startTracking();
    expect((await send(url, "experiments/search", " ".repeat(100_000))).body.message).toMatch(/^max_results: /);
  });

  test("that cannot be parsed at the moment is answered 503, which clients send again", () => {
    for (const code of ["E_QUEUE_FULL", "E_JOB_STOPPED"] as const)
      expect(toProtocolError(new ServalError(code, "Too much at once."))).toEqual({
        status: 503,
        body: { error_code: "TEMPORARILY_UNAVAILABLE", message: "Too much at once." },
      });
  });
});

describe("the description of a model", () => {
  const model = { artifact_path: "model", utc_time_created: "2026-11-30 14:00:00", flavors: { python_function: {} } };

  test("is refused where it is not an object, and taken with a flavor that is empty", async () => {
    const { url } = await startTracking();
    const run = await createRun(url);
    const log = async (json: string): Promise<Answer> => await post(url, "runs/log-model", { run_id: run, model_json: json });
    for (const [json, message] of [
      ["{", /^model_json is not JSON: /],
      ["null", /^model_json: expected a JSON object, got "null"\./],
      [`{"a":${"[".repeat(100)}${"]".repeat(100)}}`, /^model_json is too large: expected at most 64 lists/],
      ["{}", /^model_json lacks artifact_path/],
    ] as const) {
      const { status, body } = await log(json);
      expect([status, body.message]).toEqual([400, expect.stringMatching(message)]);
    }
    for (const flavors of [null, { python_function: null }]) {
      const { status, body } = await log(JSON.stringify({ ...model, run_id: run, flavors }));
      expect([status, body.message]).toEqual([400, "model_json: flavors: expected an object of objects."]);
    }
    expect((await log(JSON.stringify({ ...model, run_id: run }))).status).toBe(200);
  });

  test("together with those before takes at most a million characters", async () => {
    const { url } = await startTracking();
    const run = await createRun(url);
    const json = JSON.stringify({ ...model, run_id: run, note: "x".repeat(400_000) });
    const statuses = [];
    for (let i = 0; i < 3; i++) statuses.push((await post(url, "runs/log-model", { run_id: run, model_json: json })).status);
    expect(statuses).toEqual([200, 200, 400]);
  });
});

test("a server that reads in one thread gives the same answers as one that reads in several", async () => {
  const { dir, url } = await startTracking();
  const alone = await startTracking({ dir, oneThread: true });
  const run = await createRun(url);
  const metrics = Array.from({ length: 20 }, (_, step) => ({ key: "loss", value: step === 3 ? "NaN" : step / 3, timestamp: step, step }));
  await post(url, "runs/log-batch", { run_id: run, metrics });
  await post(url, "registered-models/create", { name: "model" });
  const { body } = await post(url, "logged-models", { experiment_id: "0", name: "m" });
  for (const [name, query] of [
    ["runs/get", { run_id: run }],
    ["metrics/get-history", { run_id: run, metric_key: "loss" }],
    ["metrics/get-history", { run_id: run, metric_key: "loss", max_results: "7" }],
    ["metrics/get-history", { run_id: run, metric_key: "other" }],
    ["metrics/get-history-bulk", { run_id: run, metric_key: "loss" }],
    ["metrics/get-history-bulk-interval", { run_ids: run, metric_key: "loss" }],
    ["registered-models/search", {}],
    ["model-versions/search", { max_results: "10" }],
    ["experiments/search", { max_results: "10" }],
    [`logged-models/${body.model.info.model_id}`, {}],
    ["runs/get", { run_id: "missing" }],
  ] as const) {
    const answers = await Promise.all([url, alone.url].map(async (server) => await get(server, name, query)));
    expect([name, answers[0]]).toEqual([name, answers[1]]);
    expect(answers[0]?.status).toBe(query.run_id === "missing" ? 404 : 200);
  }
});
