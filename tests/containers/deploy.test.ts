import { once } from "node:events";
import { createServer } from "node:net";
import { spawn } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { writeTinyBundle } from "../helpers/tiny-bundle.ts";
import {
  buildImage,
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

const project = composeProjects.deploy;
const port = "8037";
const env = { COMPOSE_PROJECT_NAME: project, SERVAL_PUBLISH: port, GRAFANA_ADMIN_PASSWORD: "unused", DEPLOY_WAIT: "60" };
const [v1, v2, unhealthy, wrong] = ["v1", "v2", "unhealthy", "wrong"].map((tag) => `serval-test:${tag}`) as [
  string,
  string,
  string,
  string,
];

let folder: string;
beforeAll(async () => {
  await removeComposeProjects();
  await buildServiceImage();
  folder = await mkdtemp(join(tmpdir(), "serval-deploy-"));
  await writeTinyBundle(join(folder, "good"));
  const { manifest } = await writeTinyBundle(join(folder, "unsure"), { sharpness: 1 });
  await writeTinyBundle(join(folder, "wrong"), { manifest: { checks: manifest.checks } });
  await buildImage(v1, `FROM ${serviceImage}\nENV RELEASE=1`);
  await buildImage(v2, `FROM ${serviceImage}\nENV RELEASE=2`);
  await buildImage(unhealthy, `FROM ${serviceImage}\nUSER root\nRUN rm -r models/*\nUSER node`);
  // A model whose answers are not its known ones, and a service that does not mind: healthy, and wrong.
  await buildImage(
    wrong,
    `FROM ${serviceImage}
USER root
RUN sed -i 's/if (failed.length === 0) return;/return;/' src/model/checks.ts && rm -r models/*
COPY wrong models/wrong
USER node`,
    folder,
  );
});
afterAll(async () => {
  await removeComposeProjects();
  for (const tag of [v1, v2, unhealthy, wrong, `serval-deploy/${project}:last-good`]) await run("docker", ["rmi", "--force", tag]);
  await rm(folder, { recursive: true });
});

/** Deploys, and prints what it came to and how long it took. */
async function deploy(...args: string[]): Promise<Finished> {
  const started = performance.now();
  const finished = await run("scripts/deploy.sh", args, { env });
  const times = [
    ...finished.output.matchAll(/Healthy after \d+ s\.|\S+ serves, after \d+ s in all\.|The version before serves again after \d+ s\./g),
  ].map(([text]) => text);
  report(
    ["deploy", ...args, `ended with ${finished.code} after ${((performance.now() - started) / 1000).toFixed(1)} s.`, ...times].join(" "),
  );
  return finished;
}

/** Which release answers on the port, by the image of the container; undefined when /health does not. */
async function serving(): Promise<string | undefined> {
  const health = await fetch(`http://127.0.0.1:${port}/health`).catch(() => undefined);
  if (health?.status !== 200) return undefined;
  const id = await docker("ps", "--quiet", "--filter", `label=com.docker.compose.project=${project}`);
  const image = await docker("inspect", "--format", "{{.Image}}", id);
  for (const tag of [v1, v2, unhealthy, wrong]) if ((await docker("image", "inspect", "--format", "{{.Id}}", tag)) === image) return tag;
  return image;
}

test("the port is taken on the first deploy: says so, leaves nothing behind, and ends with 3", async () => {
  const other = createServer().listen(Number(port), "0.0.0.0");
  await once(other, "listening");
  const { code, output } = await deploy("--no-pull", v1);
  other.close();
  expect(output).toMatch(/address already in use|port is already allocated/);
  expect(output).toContain("No version passed here before, so none serves now.");
  expect(code).toBe(3);
  expect(await docker("ps", "--all", "--quiet", "--filter", `label=com.docker.compose.project=${project}`)).toBe("");
});

test("a good version is started, and replaced by another", async () => {
  const first = await deploy("--no-pull", v1);
  expect(first.output).toContain("7 passed, 0 failed");
  expect([first.code, await serving()]).toEqual([0, v1]);
  const second = await deploy("--no-pull", v2);
  expect([second.code, await serving()]).toEqual([0, v2]);
});

test("a version that does not become healthy is rolled back", async () => {
  const { code, output } = await deploy("--no-pull", unhealthy);
  expect(output).toContain("E_BUNDLE_MISSING");
  expect(output).toMatch(/The version before serves again after \d+ s\./);
  expect([code, await serving()]).toEqual([1, v2]);
});

test("a version that is healthy and answers wrong is rolled back", async () => {
  const { code, output } = await deploy("--no-pull", wrong);
  expect(output).toMatch(/Healthy after \d+ s\.[\s\S]*FAIL {2}known answers {2}2 of 2 wrong/);
  expect(output).toMatch(/The version before serves again after \d+ s\./);
  expect([code, await serving()]).toEqual([1, v2]);
});

test("a published version is pulled and deployed; with the registry down nothing changes, and the exit code is 1", async ({
  onTestFinished,
}) => {
  const address = "127.0.0.1:5037";
  const name = `${address}/someone/cats-dogs-classifier`;
  // Debian's docker-registry stands for Docker Hub.
  const config = join(folder, "registry.json");
  await writeFile(
    config,
    JSON.stringify({ version: 0.1, storage: { filesystem: { rootdirectory: join(folder, "registry") } }, http: { addr: address } }),
  );
  const registry = spawn("docker-registry", ["serve", config], { stdio: "ignore" });
  onTestFinished(() => void registry.kill());
  const ended = once(registry, "exit");
  await eventually(
    async () => (await fetch(`http://${address}/v2/`)).status,
    (status) => status === 200,
  );
  await docker("tag", v1, serviceImage);
  const pushed = await run("scripts/push_image.sh", ["feature/x", "c0ffee"], {
    env: { DOCKER_REGISTRY: address, DOCKER_USERNAME: "someone" },
  });
  expect(pushed.code, pushed.output).toBe(0);
  const { tags } = (await (await fetch(`http://${address}/v2/someone/cats-dogs-classifier/tags/list`)).json()) as { tags: string[] };
  expect(tags.sort()).toEqual(["c0ffee", "feature-x", "latest"]);
  await docker("rmi", ...tags.map((tag) => `${name}:${tag}`));
  expect([(await deploy(`${name}:c0ffee`)).code, await serving()]).toEqual([0, v1]);

  registry.kill();
  await ended;
  const before = await docker("ps", "--quiet", "--filter", `label=com.docker.compose.project=${project}`);
  const { code, output } = await deploy(`${name}:beef`);
  expect(output).toContain(`${name}:beef cannot be pulled. Nothing was changed: ${name}:c0ffee goes on serving.`);
  expect([code, await serving()]).toEqual([1, v1]);
  expect(await docker("ps", "--quiet", "--filter", `label=com.docker.compose.project=${project}`)).toBe(before);
  await docker("rmi", `${name}:c0ffee`);
});

/** Starts a deploy and kills it, with everything that it started, as soon as its container runs. */
async function killedDeploy(image: string): Promise<void> {
  const id = await docker("image", "inspect", "--format", "{{.Id}}", image);
  const child = spawn(join(root, "scripts/deploy.sh"), ["--no-pull", image], {
    cwd: root,
    env: { ...process.env, ...env },
    detached: true,
    stdio: "ignore",
  });
  const ended = once(child, "exit");
  await eventually(
    async () =>
      await docker("ps", "--quiet", "--no-trunc", "--filter", `ancestor=${id}`, "--filter", `label=com.docker.compose.project=${project}`),
    (running) => running !== "",
  );
  process.kill(-(child.pid as number), "SIGKILL");
  await ended;
}

test("a deploy that was killed half way is finished by running it again", async () => {
  await killedDeploy(v1);
  const { code } = await deploy("--no-pull", v1);
  expect([code, await serving()]).toEqual([0, v1]);
});

test("a deploy of a wrong version that was killed half way goes back to the good one, by --undo or by the next deploy", async () => {
  await killedDeploy(wrong);
  const undone = await deploy("--undo");
  expect([undone.code, await serving()]).toEqual([0, v1]);
  await killedDeploy(wrong);
  const again = await deploy("--no-pull", wrong);
  expect(again.output).toContain("The running version never passed: a deploy was cut short.");
  expect([again.code, await serving()]).toEqual([1, v1]);
});

test("says what is wrong with the command line, an image that is not there and a missing password", async () => {
  expect((await deploy()).code).toBe(2);
  expect(await deploy("--no-pull", "serval-test:none")).toMatchObject({
    code: 2,
    output: expect.stringContaining("no image serval-test:none"),
  });
  const open = await run("scripts/deploy.sh", ["--no-pull", v2], { env: { ...env, GRAFANA_ADMIN_PASSWORD: "" } });
  expect([open.code, open.output.includes("GRAFANA_ADMIN_PASSWORD")]).toEqual([2, true]);
  expect(await serving()).toBe(v1);
});
