import { once } from "node:events";
import { createServer } from "node:net";
import { spawn } from "node:child_process";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Reader } from "../docs/reader.ts";
import { startCutRegistry } from "./cut-registry.ts";
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
} from "./engine.ts";
import { openRolloutLab, type Deployed, type RolloutLab } from "./rollout-lab.ts";
import type { LoadResult } from "./steady-load.ts";

const port = 8037;

let lab: RolloutLab;
let folder: string;
beforeAll(async () => {
  await removeComposeProjects();
  await buildServiceImage();
  folder = await mkdtemp(join(tmpdir(), "serval-deploy-"));
  lab = await openRolloutLab({ project: composeProjects.deploy, port, base: serviceImage });
});
afterAll(async () => {
  await lab.close();
  await rm(folder, { recursive: true });
});

/** Deploys what this engine has, watched for `seconds`, and prints how long it took. */
async function deploy(version: string, seconds = 1): Promise<Deployed> {
  return printed(version, await lab.deploy("--no-pull", version, "--watch", String(seconds)));
}

function printed(what: string, deployed: Deployed): Deployed {
  const steps = deployed.report?.steps.flatMap(({ name, seconds }) => (seconds >= 1 ? [`${name} ${seconds} s`] : [])) ?? [];
  report(`deploy ${what} ended with ${deployed.code} after ${deployed.seconds.toFixed(1)} s. ${steps.join(", ")}`);
  return deployed;
}

/** Under a steady load of predictions by the proxy; says what became of them. */
async function loaded<T>(work: () => Promise<T>): Promise<readonly [T, LoadResult]> {
  const load = await lab.load();
  const result = await work();
  const seen = await load.stop();
  report(
    `${seen.answered} of ${seen.sent} requests answered, ${seen.busy} refused as too many, failed: ${JSON.stringify(seen.failed)}, slowest ${seen.slowestMs} ms`,
  );
  return [result, seen];
}

test("the port is taken on the first deploy: says so, leaves no version behind, and ends with 3", async () => {
  const other = createServer().listen(port, "0.0.0.0");
  await once(other, "listening");
  const { code, output } = await deploy(lab.versions.v1);
  other.close();
  expect(output).toMatch(/address already in use|port is already allocated/);
  expect(code).toBe(3);
  expect(await docker("ps", "--all", "--quiet", "--filter", "label=serval.role=service")).toBe("");
});

test("a good version is started, and replaced by another without a lost request", async () => {
  const first = await deploy(lab.versions.v1, 0);
  expect([first.code, await lab.serving()], first.output).toEqual([0, ["v1"]]);
  const [second, seen] = await loaded(async () => await deploy(lab.versions.v2));
  expect([second.code, await lab.serving()], second.output).toEqual([0, ["v2"]]);
  expect(seen.failed).toEqual({});
  expect(second.report).toMatchObject({ outcome: "deployed", before: { version: lab.versions.v1 }, serving: { version: lab.versions.v2 } });
  // The container is compose's own, as if compose had started it: by hand nothing would change.
  const { output } = await lab.compose("up", "-d", "--no-build", "--no-deps", "cats-dogs-classifier");
  expect(output).toContain("is up-to-date");
});

test.each([
  ["ends at once", "empty", /ready +It does not become ready: its container/, /E_BUNDLE_MISSING/],
  ["is healthy and answers wrong", "wrong", /smoke +known answers: 2 of 2 wrong/, /"\/model\/checks"/],
  ["is healthy and ten times slower", "slow", /latency +median of 15 predictions/, /"\/predict"/],
] as const)("a version that %s gets no request, and the previous one still serves", async (_what, version, failure, logged) => {
  const [{ code, report: said }, seen] = await loaded(async () => await deploy(lab.versions[version]));
  expect([code, await lab.serving(), said?.outcome]).toEqual([1, ["v2"], "refused"]);
  const text = said?.steps.filter(({ passed }) => !passed).map(({ name, message }) => `${name} ${message}`) ?? [];
  expect(text[0]).toMatch(failure);
  expect(text[1]).toMatch(logged);
  expect(said?.steps.map(({ name }) => name)).not.toContain("admit");
  expect(seen.failed).toEqual({});
});

test("a version that fails under load only is taken back while it is watched", async () => {
  const [{ code, report: said }, seen] = await loaded(async () => await deploy(lab.versions.failsLater, 30));
  expect([code, await lab.serving()]).toEqual([1, ["v2"]]);
  expect(said?.steps.find(({ passed }) => !passed)).toMatchObject({
    name: "watch",
    message: expect.stringContaining("requests failed") as string,
  });
  // Nothing but what that version itself answered.
  expect(Object.keys(seen.failed)).toEqual(["500 E_INTERNAL"]);
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
  await docker("tag", lab.versions.v1, serviceImage);
  const pushed = await run("scripts/push_image.sh", ["feature/x", "c0ffee"], {
    env: { DOCKER_REGISTRY: address, DOCKER_USERNAME: "someone" },
  });
  expect(pushed.code, pushed.output).toBe(0);
  const { tags } = (await (await fetch(`http://${address}/v2/someone/cats-dogs-classifier/tags/list`)).json()) as { tags: string[] };
  expect(tags.sort()).toEqual(["c0ffee", "feature-x", "latest"]);
  await docker("rmi", ...tags.map((tag) => `${name}:${tag}`));
  // As cd.yml does it, with a program in place of GitHub's that finds every attestation good.
  const bin = join(folder, "bin");
  await mkdir(bin);
  await writeFile(join(bin, "gh"), "#!/bin/sh\n", { mode: 0o755 });
  const verified = await run("scripts/verified_image.sh", [`${name}:c0ffee`, "someone/serval"], {
    env: { PATH: [bin, process.env["PATH"]].join(delimiter) },
  });
  expect(verified.stdout, verified.output).toMatch(new RegExp(`^${name}@sha256:[0-9a-f]{64}$`));
  const deployed = await run("scripts/deploy.sh", [verified.stdout, "--watch", "1"], { env: lab.env });
  expect([deployed.code, await lab.serving()], deployed.output).toEqual([0, ["v1"]]);

  registry.kill();
  await ended;
  const before = await docker("ps", "--quiet", "--filter", "label=serval.role=service");
  const { code, output } = await lab.deploy(`${name}:beef`);
  expect(output).toContain(`${name}:beef cannot be pulled: `);
  expect([code, await lab.serving()]).toEqual([1, ["v1"]]);
  expect(await docker("ps", "--quiet", "--filter", "label=serval.role=service")).toBe(before);
  await docker("rmi", `${name}:c0ffee`);
});

test("the disk fills in the middle of a pull: says so and changes nothing, and with room again the same pull goes through", async ({
  onTestFinished,
}) => {
  const registry = await startCutRegistry(5039, Number.POSITIVE_INFINITY);
  onTestFinished(async () => await registry.close());
  // Where the engine keeps what arrives has room for a fifth of the layer.
  const incoming = join(await docker("info", "--format", "{{.DockerRootDir}}"), "tmp");
  expect((await run("mount", ["-t", "tmpfs", "-o", "size=8m", "serval-full-disk", incoming])).output).toBe("");
  onTestFinished(async () => void (await run("umount", [incoming])));
  const running = async (): Promise<string> => await docker("ps", "--quiet", "--filter", "label=serval.role=service");
  const before = await running();
  expect(before).not.toBe("");
  const [{ code, output }, seen] = await loaded(async () => await lab.deploy(registry.image));
  expect(output).toMatch(/ cannot be pulled: [^]*no space left on device/);
  expect(output).toContain("docker image prune");
  expect([code, await running()]).toEqual([1, before]);
  expect(seen.failed).toEqual({});
  expect((await run("umount", [incoming])).output).toBe("");
  await docker("pull", registry.image);
  await docker("rmi", registry.image);
});

test("a deploy that was killed while both versions serve is undone and done by running it again, without a lost request", async () => {
  const { v2 } = lab.versions;
  const [again, seen] = await loaded(async () => {
    await lab.deployKilled("admit", 0, v2, "--no-pull");
    expect((await lab.serving()).sort()).toEqual(["v1", "v2"]);
    return await deploy(v2);
  });
  expect([again.code, await lab.serving()], again.output).toEqual([0, ["v2"]]);
  expect(again.report?.steps[0]?.message).toContain("the previous version serves again");
  expect(seen.failed).toEqual({});
});

test.each([
  ["start", ["v1", "v2"], "was started beside it and gets no requests"],
  ["admit", ["v1", "v2"], "Requests go to "],
  ["retire", ["v1"], "serves, and has not passed its checks yet"],
])(
  "a deploy that is stopped by SIGTERM after %s ends within two seconds, says what serves, and loses no request",
  async (step, running, text) => {
    const { v1 } = lab.versions;
    const [stopped, seen] = await loaded(async () => {
      const ended = await lab.deployStopped(step, v1, "--no-pull", "--watch", "3");
      expect((await lab.serving()).sort()).toEqual(running);
      const undone = await lab.deploy("--undo");
      expect([undone.code, await lab.serving()], undone.output).toEqual([0, ["v2"]]);
      return ended;
    });
    report(`stopped after "${step}": ${stopped.seconds.toFixed(1)} s`);
    expect([stopped.code, stopped.stderr]).toEqual([130, expect.stringContaining(text)]);
    expect(stopped.seconds).toBeLessThan(2);
    expect(seen.failed).toEqual({});
  },
);

test("a deploy of another model in the same image that was killed when only the new one ran is undone by --undo", async () => {
  const { v2 } = lab.versions;
  const model = "models/cats-dogs";
  const models = async (): Promise<string[]> => {
    const ids = await docker(
      "ps",
      "--quiet",
      "--filter",
      `label=com.docker.compose.project=${lab.project}`,
      "--filter",
      "label=serval.role=service",
    );
    const environment = async (id: string): Promise<string> => await docker("inspect", "--format", "{{json .Config.Env}}", id);
    return (await Promise.all(ids.split("\n").filter(Boolean).map(environment))).map(
      (env) => /"SERVAL_MODEL=([^"]*)"/.exec(env)?.[1] ?? "",
    );
  };
  await lab.deployKilled("retire", 0, v2, "--no-pull", "--model", model, "--watch", "3");
  expect(await models()).toEqual([model]);
  const undone = await lab.deploy("--undo");
  expect([undone.code, await models()], undone.output).toEqual([0, [""]]);
  expect(undone.report?.steps[0]?.message).toContain("the previous version serves again");
});

test("docs/deployment.md: a version is deployed and taken back; --undo says so where the image of the previous version was pruned", async () => {
  const { v1 } = lab.versions;
  const put = { "ACCOUNT/cats-dogs-classifier:COMMIT": `--no-pull ${v1} --watch 1` };
  await Reader.withEngine(root, lab.env).follow("docs/deployment.md", "npm run serval -- deploy ACCOUNT", { put });
  expect(await lab.serving()).toEqual(["v2"]);
  await run("docker", ["rmi", "--force", v1, `serval-deploy/${lab.project}:previous`]);
  const undone = await lab.deploy("--undo");
  expect([undone.code, await lab.serving()]).toEqual([2, ["v2"]]);
  expect(undone.output).toContain(
    `The image of ${v1}, the previous version, was removed from this machine, and was not pulled from a registry.`,
  );
});

test("a container that does not stay up, because somebody started a broken image by hand, is replaced by a version that works", async () => {
  await docker("tag", lab.versions.empty, `${lab.project}:latest`);
  await lab.compose("up", "-d", "--no-build", "--no-deps", "cats-dogs-classifier");
  const { code, output } = await deploy(lab.versions.v2);
  expect([code, await lab.serving()], output).toEqual([0, ["v2"]]);
});

test("says what is wrong with the command line, an image that is not there, a missing password and a second deploy", async () => {
  expect((await lab.deploy()).code).toBe(2);
  const absent = await lab.deploy("--no-pull", "serval-test:none");
  expect([absent.code, absent.output]).toEqual([2, expect.stringContaining("no image serval-test:none")]);
  const open = await run("scripts/deploy.sh", ["--no-pull", lab.versions.v2], { env: { ...lab.env, GRAFANA_ADMIN_PASSWORD: "" } });
  expect([open.code, open.output.includes("GRAFANA_ADMIN_PASSWORD")]).toEqual([2, true]);
  const twice = [1, 2].map(async () => await lab.deploy("--no-pull", lab.versions.v2, "--watch", "0"));
  const [first, second] = await Promise.all(twice);
  expect(new Set([first?.code, second?.code])).toEqual(new Set([0, 2]));
  expect(await lab.serving()).toEqual(["v2"]);
});
