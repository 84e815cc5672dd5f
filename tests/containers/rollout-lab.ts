import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { formRequest } from "../../bench/load.ts";
import type { RolloutReport } from "../../src/deploy/rollout.ts";
import { writeTinyBundle } from "../helpers/tiny-bundle.ts";
import { buildImage, docker, removeProject, root, run, type Finished } from "./engine.ts";
import { startLoad, type SteadyLoad } from "./steady-load.ts";

export interface LabOptions {
  /** Name of the compose project and its network. */
  readonly project: string;
  readonly port: number;
  /** Image of the service that the versions are made of. */
  readonly base: string;
}

/** Versions of the service: good ones, and ones whose faults only show in a running system. */
export interface Versions {
  readonly v1: string;
  readonly v2: string;
  /** Has no model, so it ends at once. */
  readonly empty: string;
  /** Healthy, with answers that are not the known ones. */
  readonly wrong: string;
  /** Ten times slower from the first request. */
  readonly slow: string;
  /** As the last three names say, from the 60th prediction on: the tests before find nothing. */
  readonly slowLater: string;
  readonly failsLater: string;
  readonly crashesLater: string;
}

/** A compose project of the repository's own files, with versions to deploy to it. */
export interface RolloutLab {
  readonly project: string;
  readonly port: number;
  readonly versions: Versions;
  readonly env: Readonly<Record<string, string>>;
  /** Runs `serval deploy ARGS --json` to its end. */
  readonly deploy: (...args: readonly string[]) => Promise<Deployed>;
  /** Starts it, and kills it `afterMs` after the step of that name is reported. */
  readonly deployKilled: (step: string, afterMs: number, ...args: readonly string[]) => Promise<void>;
  /** Starts it, and sends SIGTERM after the step of that name is reported. */
  readonly deployStopped: (step: string, ...args: readonly string[]) => Promise<Stopped>;
  /** Which version's containers run; empty for none. */
  readonly serving: () => Promise<string[]>;
  readonly load: () => Promise<SteadyLoad>;
  readonly compose: (...args: readonly string[]) => Promise<Finished>;
  readonly close: () => Promise<void>;
}

export interface Stopped {
  readonly code: number | null;
  readonly stderr: string;
  /** From the signal to the end. */
  readonly seconds: number;
}

export interface Deployed extends Finished {
  readonly seconds: number;
  /** Undefined where the deploy did not begin. */
  readonly report: RolloutReport | undefined;
}

export async function openRolloutLab({ project, port, base }: LabOptions): Promise<RolloutLab> {
  await removeProject(project);
  const folder = await mkdtemp(join(tmpdir(), "serval-rollout-"));
  const versions = await buildVersions(project, base, folder);
  const env = {
    COMPOSE_PROJECT_NAME: project,
    SERVAL_NETWORK: project,
    SERVAL_PUBLISH: String(port),
    SERVAL_IMAGE: `${project}:latest`,
    GRAFANA_ADMIN_PASSWORD: "unused",
  };
  const command = [join(root, "src/cli/main.ts"), "deploy", "--dir", join(root, "deployment")];
  return {
    project,
    port,
    versions,
    env,
    async deploy(...args) {
      const started = performance.now();
      const finished = await run(process.execPath, [...command, ...args, "--json"], { env });
      const text = finished.stdout.startsWith("{") ? finished.stdout : "";
      const report = text === "" ? undefined : (JSON.parse(text) as RolloutReport);
      return { ...finished, seconds: (performance.now() - started) / 1000, report };
    },
    async deployKilled(step, afterMs, ...args) {
      const child = spawn(process.execPath, [...command, ...args], {
        cwd: root,
        env: { ...process.env, ...env },
        stdio: ["ignore", "pipe", "ignore"],
      });
      const ended = once(child, "exit");
      await Promise.race([stepOf(child, step), ended]);
      await new Promise((resolve) => setTimeout(resolve, afterMs));
      child.kill("SIGKILL");
      await ended;
    },
    async deployStopped(step, ...args) {
      const child = spawn(process.execPath, [...command, ...args], {
        cwd: root,
        env: { ...process.env, ...env },
        stdio: ["ignore", "pipe", "pipe"],
      });
      let stderr = "";
      child.stderr.setEncoding("utf8").on("data", (chunk: string) => (stderr += chunk));
      const ended = once(child, "close") as Promise<[number | null]>;
      await Promise.race([stepOf(child, step), ended]);
      const startedAt = performance.now();
      child.kill("SIGTERM");
      const [code] = await ended;
      return { code, stderr, seconds: (performance.now() - startedAt) / 1000 };
    },
    async serving() {
      const ids = await docker(
        "ps",
        "--quiet",
        "--filter",
        `label=com.docker.compose.project=${project}`,
        "--filter",
        "label=serval.role=service",
      );
      const images = await Promise.all(
        ids
          .split("\n")
          .filter(Boolean)
          .map(async (id) => await docker("inspect", "--format", "{{.Image}}", id)),
      );
      const names = await Promise.all(
        Object.entries(versions).map(
          async ([name, tag]) => [(await run("docker", ["image", "inspect", "--format", "{{.Id}}", tag as string])).stdout, name] as const,
        ),
      );
      return images.map((image) => names.find(([id]) => id === image)?.[1] ?? image);
    },
    async load() {
      return startLoad(port, formRequest("/predict", await readFile(join(root, "test_image.jpg"))));
    },
    async compose(...args) {
      return await run("docker-compose", args, { cwd: join(root, "deployment"), env });
    },
    async close() {
      await removeProject(project);
      await removeTags(project, `serval-deploy/${project}`);
      await rm(folder, { recursive: true, force: true });
    },
  };
}

async function stepOf(child: ChildProcess, step: string): Promise<void> {
  for await (const line of createInterface({ input: child.stdout! })) if (line.startsWith(`ok    ${step} `)) return;
}

async function buildVersions(project: string, base: string, folder: string): Promise<Versions> {
  await writeTinyBundle(join(folder, "good"));
  const { manifest } = await writeTinyBundle(join(folder, "unsure"), { sharpness: 1 });
  await writeTinyBundle(join(folder, "wrong"), { manifest: { checks: manifest.checks } });
  await mkdir(join(folder, "fault"));
  await copyFile(join(import.meta.dirname, "fault.ts"), join(folder, "fault/fault.ts"));
  await writeFile(join(folder, ".dockerignore"), "");
  const faulty = (fault: string, after: number): string => `FROM ${base}
USER root
COPY fault/fault.ts .
RUN file=$(grep -l 'const gone = clientGone(reply' dist/*.js) && \\
    sed -i -e '1i import { fault } from "../fault.ts";' -e 's/const gone = clientGone(reply.*);/& await fault();/' $file
ENV FAULT=${fault} FAULT_AFTER=${after}
USER node`;
  const dockerfiles: Record<keyof Versions, string> = {
    v1: `FROM ${base}\nENV RELEASE=1`,
    v2: `FROM ${base}\nENV RELEASE=2`,
    empty: `FROM ${base}\nUSER root\nRUN rm -r models/*\nUSER node`,
    // A model whose answers are not its known ones, and a service that does not mind.
    wrong: `FROM ${base}
USER root
RUN file=$(grep -l 'if (failed.length === 0) return;' dist/*.js) && sed -i 's/if (failed.length === 0) return;/return;/' $file && rm -r models/*
COPY wrong models/wrong
USER node`,
    slow: faulty("slow", 0),
    slowLater: faulty("slow", 60),
    failsLater: faulty("fail", 60),
    crashesLater: faulty("crash", 60),
  };
  const built = Object.entries(dockerfiles).map(([name, text]) => [name, `${project}:${name.toLowerCase()}`, text] as const);
  for (const [, tag, text] of built) await buildImage(tag, text, folder);
  return Object.fromEntries(built.map(([name, tag]) => [name, tag])) as unknown as Versions;
}

/** Untags what a lab made, its notes of deploys included. */
async function removeTags(...names: readonly string[]): Promise<void> {
  const all = (await docker("image", "ls", "--format", "{{.Repository}}:{{.Tag}}")).split("\n");
  const own = all.filter((tag) => names.some((name) => tag.startsWith(`${name}:`) || tag.startsWith(`${name}/`)));
  if (own.length > 0) await run("docker", ["rmi", "--force", ...own]);
}
