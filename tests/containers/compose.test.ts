import { createHash } from "node:crypto";
import { appendFile, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { DatabaseSync } from "node:sqlite";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { preparePatterns } from "../helpers/pattern-project.ts";
import { runServal } from "../helpers/serval-process.ts";
import { readDashboards } from "./dashboard.ts";
import { composeProjects, docker, eventually, removeComposeProjects, report, root, run, type Finished } from "./engine.ts";
import { hireOperator, type Operator } from "./operator.ts";
import { receiverSettings, startReceiver, type Heard } from "./receiver.ts";

const project = composeProjects.compose;
const services = ["cats-dogs-classifier", "proxy", "mlflow", "prometheus", "alertmanager"];
const [service, mlflow, prometheus] = ["http://localhost:8000", "http://localhost:5001", "http://localhost:9090"] as const;

let operator: Operator;
/** What was sent to people. */
let heard: () => Promise<Heard>;

async function compose(...args: string[]): Promise<string> {
  const { code, stdout, output } = await run("docker-compose", args, { cwd: join(operator.dir, "deployment"), env: operator.env });
  if (code !== 0) throw new Error(`docker-compose ${args.join(" ")} ended with ${code}:\n${output}`);
  return stdout;
}

async function container(name: string): Promise<string> {
  return await docker(
    "ps",
    "--quiet",
    "--filter",
    `label=com.docker.compose.project=${project}`,
    "--filter",
    `label=com.docker.compose.service=${name}`,
  );
}

/** Waits until the health check of each passes. */
async function healthy(...names: string[]): Promise<void> {
  const started = performance.now();
  const states = async (): Promise<string[]> =>
    await Promise.all(names.map(async (name) => await docker("inspect", "--format", "{{.State.Health.Status}}", await container(name))));
  await eventually(states, (all) => all.every((state) => state === "healthy"), 240);
  report(`${names.join(" ")}: all healthy after ${((performance.now() - started) / 1000).toFixed(1)} s`);
}

async function getJson<T>(url: string, init?: RequestInit): Promise<T> {
  const response = await fetch(url, init);
  expect(response.status, url).toBe(200);
  return (await response.json()) as T;
}

type Series = readonly { readonly metric: Readonly<Record<string, string>>; readonly value: readonly [number, string] }[];
async function query(expr: string): Promise<Series> {
  const { data } = await getJson<{ data: { result: Series } }>(
    `${prometheus}/api/v1/query?${new URLSearchParams({ query: expr }).toString()}`,
  );
  return data.result;
}

let dir: string;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "serval-compose-"));
  await removeComposeProjects();
  operator = await hireOperator({ COMPOSE_PROJECT_NAME: project, ...receiverSettings });
  // .ci/run has installed the packages.
  await operator.reader.follow("docs/deployment.md", "scripts/setup.sh", { put: { "scripts/setup.sh ": ": " } });
  await healthy(...services);
  heard = await startReceiver(project, "mlops-network");
});
afterAll(async () => {
  await removeComposeProjects();
  await operator.remove();
  await rm(dir, { recursive: true, force: true });
});

const promtool = async (...args: string[]): Promise<Finished> =>
  // Its file system is read-only except for this volume.
  await run("docker", ["exec", "--env", "TMPDIR=/prometheus", await container("prometheus"), "/bin/promtool", ...args]);

test("promtool passes the configuration and the rules, which Prometheus has loaded", async () => {
  const output = await operator.reader.follow("docs/deployment.md", "cd deployment\ndocker compose exec");
  expect(output).toMatch(/is valid prometheus config file syntax[\s\S]*SUCCESS: 15 rules found/);
  const { data } = await getJson<{ data: { groups: { rules: { name: string; health: string }[] }[] } }>(`${prometheus}/api/v1/rules`);
  expect(data.groups.flatMap(({ rules }) => rules.map(({ name }) => name))).toEqual([
    "ClassifierDown",
    "ClassifierReplicaDown",
    "ClassifierModelsDiffer",
    "ClassifierNotReady",
    "ClassifierErrors",
    "ClassifierSlow",
    "ClassifierQueueLong",
    "ClassifierNoTraffic",
    "ClassifierDrift",
    "ClassifierAccuracyLow",
    "ClassifierUnknownInputs",
    "ClassifierMonitorDown",
    "ClassifierPredictionsWaiting",
    "ClassifierPredictionsLost",
    "ClassifierDiskLow",
  ]);
});

test("promtool has each rule fire for what it is meant for, and not for what is near it, nor for what clients do wrong", async () => {
  const files = ["alerts.promtool.yml", "traffic.promtool.yml"];
  for (const file of files) {
    await docker("cp", join(root, "tests/containers", file), `${await container("prometheus")}:/prometheus/${file}`);
  }
  const { code, output } = await promtool("test", "rules", ...files.map((file) => `/prometheus/${file}`));
  expect(code, output).toBe(0);
});

test("each query of the dashboards gives a number after good and bad traffic, with a drift in it", async () => {
  const queries = await readDashboards();
  expect(queries.length).toBeGreaterThan(50);
  const picture = await readFile(join(root, "test_image.jpg"));
  const predict = async (body: Uint8Array<ArrayBuffer>): Promise<number> => {
    const form = new FormData();
    form.set("file", new Blob([body]), "image.jpg");
    return (await fetch(`${service}/predict`, { method: "POST", body: form })).status;
  };
  // Sixty cats, and none of the dogs that were half of the training; clients say of half of them that they are dogs.
  for (let i = 0; i < 60; i++) {
    const { request_id: id } = await getJson<{ request_id: string }>(`${service}/predict`, {
      method: "POST",
      headers: { "content-type": "image/jpeg" },
      body: picture,
    });
    if (i % 2 === 1) continue;
    const label = JSON.stringify({ request_id: id, label: "dog" });
    await fetch(`${service}/feedback`, { method: "POST", headers: { "content-type": "application/json" }, body: label });
  }
  /** Between two questions there is traffic, so that it lies on both sides of a scrape. */
  const goodAndBad = async (): Promise<void> => {
    expect([await predict(picture), await predict(Buffer.from("no image")), (await fetch(`${service}/nowhere`)).status]).toEqual([
      200, 415, 404,
    ]);
  };
  const unanswered = async (): Promise<string[]> => {
    await goodAndBad();
    const answers = await Promise.all(queries.map(async ({ expr }) => await query(expr)));
    return queries.flatMap(({ file, panel, legend }, i) =>
      answers[i]?.some(({ value }) => Number.isFinite(Number(value[1]))) === true ? [] : [`${file}: ${panel}, ${legend}`],
    );
  };
  expect(await eventually(unanswered, (left) => left.length === 0)).toEqual([]);

  const value = async (panel: string, labels: Record<string, string> = {}): Promise<number> => {
    const expr = queries.find((query) => query.panel === panel)?.expr ?? "";
    const series = (await query(expr)).filter(({ metric }) => Object.entries(labels).every(([key, label]) => metric[key] === label));
    return Number(series[0]?.value[1]);
  };
  // Rates fall behind while Prometheus scrapes, so these are bounds, and may take two scrapes to get there.
  const rises = async (panel: string, labels: Record<string, string> = {}): Promise<number> => {
    const asked = async (): Promise<number> => {
      await goodAndBad();
      return await value(panel, labels);
    };
    return await eventually(asked, (now) => now > 0);
  };
  await rises("Requests by status", { status: "415" });
  await rises("Errors by code", { code: "E_IMAGE_FORMAT" });
  await rises("Predictions by label", { label: "cat" });
  await rises("Predictions in an hour");
  expect(await value("Service")).toBe(1);
  expect(await value("Predictions by label", { label: "bird" })).toBeNaN();
  expect(await value("Error rate in an hour")).toBe(0);
  expect(await value("Verdict", { verdict: "drift" })).toBe(1);
  // The smoke test asked about dogs.
  expect(await value("Labels that moved")).toBeGreaterThan(0.3);
  expect(await value("Live accuracy")).toBe(0);
  expect(await value("Accuracy too low")).toBe(1);
});

test("the log in its volume has a line for each request, with class and confidence, and nothing of the image or its sender", async () => {
  const log = await docker("exec", await container("cats-dogs-classifier"), "cat", "/app/logs/service.log");
  const lines = log.split("\n").map((line) => JSON.parse(line) as Record<string, unknown>);
  const requests = lines.filter((line) => line["msg"] === "request");
  const answered = requests.find((line) => line["route"] === "/predict" && line["label"] === "cat");
  expect(answered).toMatchObject({ level: "info", method: "POST", status: 200, confidence: expect.any(Number) as number });
  expect(requests.find((line) => line["status"] === 415)).toMatchObject({ code: "E_IMAGE_FORMAT" });
  const allowed = "level time request_id route method status duration_ms label confidence code msg".split(" ");
  expect([...new Set(requests.flatMap(Object.keys))].filter((key) => !allowed.includes(key))).toEqual([]);
});

test("a training logs to MLflow by its published port, and its run outlives the container", async () => {
  await preparePatterns(dir, 1);
  const { code, stderr, stdout } = await runServal(dir, ["train", "--json"], { MLFLOW_TRACKING_URI: mlflow });
  expect(code, stderr).toBe(0);
  const { tracking } = JSON.parse(stdout) as { tracking: { delivered: boolean; page: string } };
  expect(tracking).toMatchObject({ delivered: true, page: expect.stringContaining(`${mlflow}/#/experiments/`) as string });

  await compose("rm", "--stop", "--force", "mlflow");
  await compose("up", "-d", "mlflow");
  await healthy("mlflow");
  const [, id] = /\/runs\/(\w+)/.exec(tracking.page) ?? [];
  const { run: logged } = await getJson<{ run: { info: { status: string; experiment_id: string }; data: { metrics: { key: string }[] } } }>(
    `${mlflow}/api/2.0/mlflow/runs/get?run_id=${id}`,
  );
  expect(logged.info.status).toBe("FINISHED");
  expect(logged.data.metrics.map(({ key }) => key)).toEqual(expect.arrayContaining(["val_accuracy", "val_f1", "train_loss"]));
  const { files } = await getJson<{ files: { path: string }[] }>(`${mlflow}/api/2.0/mlflow/artifacts/list?run_id=${id}`);
  expect(files.map(({ path }) => path)).toEqual(expect.arrayContaining(["confusion-matrix.png", "results.png"]));
  const body = JSON.stringify({ experiment_ids: [logged.info.experiment_id] });
  const { models } = await getJson<{ models: { info: { name: string; source_run_id: string; status: string } }[] }>(
    `${mlflow}/api/2.0/mlflow/logged-models/search`,
    { method: "POST", headers: { "content-type": "application/json" }, body },
  );
  const kept = models.filter(({ info }) => info.source_run_id === id).map(({ info }) => `${info.name}: ${info.status}`);
  expect(kept.sort()).toEqual(["best: LOGGED_MODEL_READY", "final: LOGGED_MODEL_READY"]);
});

test("MLflow answers to its name in mlops-network and to this machine's, and to no other name or page", async () => {
  const search = "/api/2.0/mlflow/experiments/search";
  const ask = async (host: string, origin?: string): Promise<string> => {
    const args = [
      "--silent",
      "--output",
      "/dev/null",
      "--write-out",
      "%{http_code}",
      "--json",
      '{"max_results": 5}',
      "--header",
      `Host: ${host}`,
    ];
    if (origin !== undefined) args.push("--header", `Origin: ${origin}`);
    return (await run("curl", [...args, `${mlflow}${search}`])).stdout;
  };
  expect([await ask("localhost:5001"), await ask("127.0.0.1:5001"), await ask("mlflow:5001")]).toEqual(["200", "200", "200"]);
  expect(await ask("rebound.example.com:5001")).toBe("403");
  expect(await ask("localhost:5001", "http://localhost:5001")).toBe("200");
  expect(await ask("localhost:5001", "http://elsewhere.example.com")).toBe("403");
  const program = `fetch("http://mlflow:5001${search}?max_results=5").then(async (r) => console.log(r.status, (await r.text()).includes("patterns")))`;
  expect(await docker("exec", await container("cats-dogs-classifier"), "node", "-e", program)).toBe("200 true");
});

test("no service has rights that it does not need, and only the proxy listens beyond this machine", async () => {
  const ports: Record<string, string> = {};
  for (const name of services) {
    const id = await container(name);
    expect(await docker("exec", id, "id", "-u"), name).not.toBe("0");
    expect((await run("docker", ["exec", id, "touch", "/etc/mine"])).output, name).toMatch(/Read-only file system|Permission denied/);
    const [{ HostConfig: host }] = JSON.parse(await docker("inspect", id)) as [{ HostConfig: Readonly<Record<string, unknown>> }];
    expect(host, name).toMatchObject({
      ReadonlyRootfs: true,
      CapDrop: ["ALL"],
      SecurityOpt: ["no-new-privileges:true"],
      Memory: expect.any(Number) as number,
      PidsLimit: expect.any(Number) as number,
    });
    expect(host["Memory"], name).toBeGreaterThan(0);
    ports[name] = (await docker("port", id)).split("\n").sort()[0] ?? "";
  }
  expect(ports).toEqual({
    "cats-dogs-classifier": expect.stringMatching(/^8000\/tcp -> 127\.0\.0\.1:\d+$/) as string,
    proxy: "8000/tcp -> 0.0.0.0:8000",
    mlflow: "5001/tcp -> 127.0.0.1:5001",
    prometheus: "9090/tcp -> 127.0.0.1:9090",
    alertmanager: "9093/tcp -> 127.0.0.1:9093",
  });
});

test("an alert that fires in Prometheus reaches people by webhook and mail, with its link to the runbook; a critical one at once", async () => {
  // The drift above, half a minute later, with the other warnings that began by then.
  const names = ({ webhooks }: Heard): string[] => webhooks.flatMap(({ alerts }) => alerts.map(({ labels }) => labels["alertname"] ?? ""));
  const told = await eventually(
    heard,
    (now) => names(now).includes("ClassifierDrift") && now.mails.some((mail) => mail.includes("ClassifierDrift")),
    150,
  );
  const message = told.webhooks.find(({ alerts }) => alerts.some(({ labels }) => labels["alertname"] === "ClassifierDrift"));
  expect(message).toMatchObject({ status: "firing", groupLabels: { severity: "warning" } });
  expect(names(told)).toContain("ClassifierAccuracyLow");
  const alert = message?.alerts.find(({ labels }) => labels["alertname"] === "ClassifierDrift");
  expect(alert?.annotations["runbook"]).toBe("docs/runbook.md#classifierdrift");
  expect(alert?.generatorURL).toMatch(/^http:\/\/localhost:9090\/graph\?/);
  expect(told.mails.join("\n")).toMatch(/^To: people@example\.com$/m);

  const started = performance.now();
  const amtool = [
    "/bin/amtool",
    "--alertmanager.url=http://127.0.0.1:9093",
    "alert",
    "add",
    "alertname=ClassifierErrors",
    "severity=critical",
  ];
  await docker("exec", await container("alertmanager"), ...amtool);
  const critical = await eventually(heard, (now) => names(now).includes("ClassifierErrors"));
  report(`a critical alert arrived after ${((performance.now() - started) / 1000).toFixed(1)} s`);
  const sent = critical.webhooks.find(({ groupLabels }) => groupLabels["alertname"] === "ClassifierErrors");
  expect(sent?.alerts).toHaveLength(1);
});

test("docs/operations.md: installed again nothing changes, and the logs have the line of a request", async () => {
  const before = await container("cats-dogs-classifier");
  await operator.reader.follow("docs/operations.md", "scripts/setup.sh", {
    put: { "scripts/setup.sh\n": "export GRAFANA_ADMIN_PASSWORD=unused\n" },
  });
  expect(await container("cats-dogs-classifier")).toBe(before);
  const id = (await fetch(`${service}/health`)).headers.get("x-request-id") ?? "";
  const logs = await operator.reader.follow("docs/operations.md", "cd deployment\n", { put: { REQUEST_ID: id } });
  expect(logs).toContain(`"request_id":"${id}","route":"/health"`);
});

test("docs/operations.md: a key is changed while both are valid, and who comes with the old one is seen", async () => {
  const old = "old-key";
  const hash = createHash("sha256").update(old).digest("hex");
  await mkdir(join(operator.dir, "deployment/keys"), { recursive: true });
  await writeFile(join(operator.dir, "deployment/keys/keys.txt"), `alice ${hash}\n`);
  await appendFile(join(operator.dir, "deployment/.env"), "SERVAL_API_KEYS_FILE=/keys/keys.txt\n");
  await compose("up", "-d");
  await healthy("cats-dogs-classifier", "proxy");
  const image = "cats-dogs-classifier:latest --watch 1";
  const remove = "sed -i 1d deployment/keys/keys.txt";
  const comesWithOld = `curl --silent --header "x-api-key: ${old}" --form file=@test_image.jpg ${service}/predict`;
  const output = await operator.reader.follow("docs/operations.md", "key=$(openssl", {
    put: {
      "# When all clients have the new one: remove the old line, and once more": remove,
      OLD: old,
      NEW: "$key",
      IMAGE: image,
      "docker compose -f": `${comesWithOld}; docker compose -f`,
    },
  });
  expect(output).toContain('"status":401');
});

test("docs/operations.md: a backup made while MLflow answers holds its finished run, with its files", async () => {
  const folder = join(dir, "backup");
  await mkdir(folder);
  const printed = await operator.reader.follow("docs/operations.md", "scripts/backup.sh # into");
  const archive = printed.trim().split("\n").at(-1) ?? "";
  const listed = await run("tar", ["--extract", "--verbose", "--gzip", "--file", archive, "--directory", folder]);
  expect(listed.stdout).toMatch(/^files\/tracking\/artifacts\/.*\/results\.png$/m);
  expect(listed.stdout).not.toMatch(/^files\/.*(\.db|\.log)$/m);
  const db = new DatabaseSync(join(folder, "databases/tracking/mlflow.db"), { readOnly: true });
  expect(db.prepare("SELECT status FROM runs").all()).toEqual([{ status: "FINISHED" }]);
  db.close();
});
