import { randomBytes } from "node:crypto";
import { mkdir, mkdtemp, readdir, readFile, rm, stat, truncate } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Reader } from "../docs/reader.ts";
import {
  buildServiceImage,
  composeProjects,
  docker,
  eventually,
  removeComposeProjects,
  report,
  root,
  run,
  serviceImage,
  type Finished,
} from "./engine.ts";

const project = composeProjects.backup;
const env = {
  COMPOSE_PROJECT_NAME: project,
  GRAFANA_ADMIN_PASSWORD: "unused",
  COMPOSE_PROFILES: "embedded",
  SERVAL_PUBLISH: "127.0.0.1:8305",
  TRACKING_PUBLISH: "127.0.0.1:8306",
};
const tracking = "http://127.0.0.1:8306";
let service: string;

async function compose(...args: string[]): Promise<string> {
  const { code, stdout, output } = await run("docker-compose", args, { cwd: join(root, "deployment"), env });
  if (code !== 0) throw new Error(`docker-compose ${args.join(" ")} ended with ${code}:\n${output}`);
  return stdout;
}

/** The service and the embedded tracking server, healthy. */
async function up(): Promise<void> {
  await compose("up", "-d", "cats-dogs-classifier", "tracking");
  service = `http://${await compose("port", "cats-dogs-classifier", "8000")}`.replace("0.0.0.0", "127.0.0.1");
  const statuses = async (): Promise<number[]> =>
    await Promise.all([`${service}/health`, `${tracking}/health`].map(async (url) => (await fetch(url)).status));
  await eventually(statuses, (all) => all.every((status) => status === 200), 120);
}

async function post(url: string, body: unknown): Promise<Response> {
  return await fetch(url, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) });
}

const script = async (name: string, ...args: string[]): Promise<Finished> => await run(`scripts/${name}`, args, { env });
const feedback = async (id: string): Promise<number> => (await post(`${service}/feedback`, { request_id: id, label: "cat" })).status;

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "serval-backup-"));
  await removeComposeProjects();
  await buildServiceImage();
  await up();
});
afterAll(async () => {
  await removeComposeProjects();
  await run("umount", [join(folder, "small")]);
  await rm(folder, { recursive: true });
});

test("a backup under writes, put back after the volumes are gone, holds all that was acknowledged before it began", async () => {
  const picture = await readFile(join(root, "test_image.jpg"));
  const acknowledged = { feedback: [] as string[], runs: [] as string[] };
  const writing = { on: true };
  const giveFeedback = async (): Promise<void> => {
    while (writing.on) {
      const answer = await fetch(`${service}/predict`, { method: "POST", headers: { "content-type": "image/jpeg" }, body: picture });
      const { request_id: id } = (await answer.json()) as { request_id: string };
      // A prediction is on the disk a moment after its answer.
      await eventually(
        async () => await feedback(id),
        (status) => status === 202,
      );
      acknowledged.feedback.push(id);
    }
  };
  const logRuns = async (): Promise<void> => {
    while (writing.on) {
      const created = await post(`${tracking}/api/2.0/mlflow/runs/create`, { experiment_id: "0", start_time: Date.now() });
      const { run: begun } = (await created.json()) as { run: { info: { run_id: string } } };
      const metric = { run_id: begun.info.run_id, key: "loss", value: acknowledged.runs.length, timestamp: Date.now() };
      expect((await post(`${tracking}/api/2.0/mlflow/runs/log-metric`, metric)).status).toBe(200);
      acknowledged.runs.push(begun.info.run_id);
    }
  };
  const file = randomBytes(2_000_000);
  const artifact = `${tracking}/api/2.0/mlflow-artifacts/artifacts/0/weights.bin`;
  expect((await fetch(artifact, { method: "PUT", body: file })).status).toBe(200);

  const writers = Promise.all([giveFeedback(), logRuns()]);
  await eventually(
    async () => await Promise.resolve(Math.min(acknowledged.feedback.length, acknowledged.runs.length)),
    (count) => count >= 5,
  );
  const before = { feedback: [...acknowledged.feedback], runs: [...acknowledged.runs] };
  const started = performance.now();
  const backup = await script("backup.sh", folder);
  const seconds = (performance.now() - started) / 1000;
  expect(backup.code, backup.output).toBe(0);
  const during = acknowledged.runs.length - before.runs.length;
  writing.on = false;
  await writers;
  report(`backup: ${seconds.toFixed(1)} s, with ${during} runs acknowledged meanwhile`);
  const archive = backup.stdout.split("\n").at(-1) ?? "";
  expect(await readdir(folder)).toEqual([basename(archive)]);
  // Predictions and Grafana's users are in it.
  expect((await stat(archive)).mode & 0o777).toBe(0o600);
  expect(during).toBeGreaterThan(0);

  const inUse = await script("restore.sh", "--replace", archive);
  expect([inUse.code, inUse.output]).toEqual([1, expect.stringContaining("stop it first. Nothing was changed.")]);
  await compose("rm", "--stop", "--force", "cats-dogs-classifier", "tracking");
  await docker("volume", "rm", `${project}_logs`, `${project}_embedded-tracking`);
  const restored = await script("restore.sh", archive);
  expect(restored.code, restored.output).toBe(0);
  const again = await script("restore.sh", archive);
  expect([again.code, again.output]).toEqual([1, expect.stringMatching(/The volume \S+ is not empty\./)]);

  await up();
  for (const [i, id] of before.runs.entries()) {
    const { run: kept } = (await (await fetch(`${tracking}/api/2.0/mlflow/runs/get?run_id=${id}`)).json()) as {
      run: { data: { metrics: { value: number }[] } };
    };
    expect(kept.data.metrics.map(({ value }) => value)).toEqual([i]);
  }
  // 200: that label was there already; a prediction that was lost would be 404.
  for (const id of before.feedback) expect(await feedback(id)).toBe(200);
  expect(Buffer.from(await (await fetch(artifact)).arrayBuffer()).equals(file)).toBe(true);
  // And it can be written to again.
  expect((await post(`${tracking}/api/2.0/mlflow/runs/create`, { experiment_id: "0", start_time: 1 })).status).toBe(200);
});

test("a full disk is said, and leaves neither an archive nor a part of one", async () => {
  const small = join(folder, "small");
  await mkdir(small);
  for (const [size, message] of [
    ["64k", "cannot be copied: database or disk is full"],
    ["1m", "No space left on device"],
  ] as const) {
    expect(await run("mount", ["-t", "tmpfs", "-o", `size=${size}`, "tmpfs", small])).toMatchObject({ code: 0 });
    const { code, output } = await script("backup.sh", small);
    expect([code, output]).toEqual([1, expect.stringContaining(message)]);
    expect(output).toContain(`No backup was written to ${small}: see above.`);
    expect(await readdir(small)).toEqual([]);
    await run("umount", [small]);
  }
});

test("an archive that was cut off, or is none, is refused before anything changes", async () => {
  const archive = join(folder, (await readdir(folder)).find((name) => name.endsWith(".tar.gz")) ?? "");
  await truncate(archive, 1_000_000);
  const { code, output } = await script("restore.sh", archive, "--replace");
  expect([code, output]).toEqual([1, expect.stringContaining("is damaged or no backup")]);
  expect((await script("restore.sh", join(root, "package.json"))).output).toContain("is damaged or no backup");
  expect(await script("restore.sh")).toMatchObject({ code: 2, output: expect.stringContaining("Usage:") as string });
});

test("a name of a tool's folder in a volume is told by the backup, refused by the restore, and taken with --any-name", async () => {
  const models = ["--volume", `${project}_models:/models`, "--entrypoint", "sh", serviceImage, "-c"];
  await docker("run", "--rm", "--user", "0", ...models, "mkdir /models/.git && echo kept > /models/.git/config");
  const backup = await script("backup.sh", folder);
  expect(backup.code, backup.output).toBe(0);
  expect(backup.output).toContain('E_ARCHIVE_UNSAFE: The archive holds "files/models/.git"');
  expect(backup.output).toContain("scripts/restore.sh will refuse it");
  const archive = backup.stdout.split("\n").at(-1) ?? "";

  await compose("rm", "--stop", "--force", "cats-dogs-classifier", "tracking");
  await docker("run", "--rm", "--user", "0", ...models, "echo newer > /models/.git/config");
  const read = async (): Promise<string> => await docker("run", "--rm", ...models, "cat /models/.git/config; ls -a /models");
  const before = await read();
  const refused = await script("restore.sh", "--replace", archive);
  expect([refused.code, refused.output]).toEqual([
    1,
    expect.stringContaining('The archive holds "files/models/.git": that path holds ".git"'),
  ]);
  expect(await read()).toBe(before);
  await Reader.withEngine(root, env).follow("docs/operations.md", "cd deployment && docker compose stop", {
    put: {
      "stop cats-dogs-classifier mlflow grafana": "stop cats-dogs-classifier tracking",
      ARCHIVE: `--replace --any-name ${archive}`,
      "up -d": "up -d cats-dogs-classifier tracking",
    },
  });
  expect(await read()).toBe(before.replace("newer", "kept"));
});
