import { afterEach, beforeEach, expect, test } from "vitest";
import { openStackTarget } from "../../../src/deploy/stack/stack-target.ts";
import type { Target } from "../../../src/deploy/target.ts";
import { startPretendEngine, type PretendEngine } from "../../helpers/pretend-engine.ts";

interface PretendTask {
  readonly id: string;
  readonly state: string;
}

const image = "app@sha256:1";
let tasks: PretendTask[];
/** What an update makes of the tasks. */
let updated: readonly PretendTask[];
let engine: PretendEngine;
let target: Target;

beforeEach(async () => {
  tasks = [];
  updated = [];
  let proven = "yes";
  const says = (line: string): string => {
    if (line.startsWith("info")) return "true";
    if (line.startsWith("service ls")) return line.includes("role=proxy") ? "proxy" : "app";
    if (line.startsWith("service inspect")) {
      const ContainerSpec = { Image: image, Env: [] };
      const Spec = { Labels: { "serval.proven": proven }, TaskTemplate: { ContainerSpec }, Mode: { Replicated: { Replicas: 1 } } };
      return JSON.stringify([{ Spec, UpdateStatus: { State: "completed", Message: "" } }]);
    }
    if (line.startsWith("service update")) {
      proven = "no";
      tasks.unshift(...updated);
      return "";
    }
    if (line.startsWith("service ps")) return tasks.map(({ id }) => id).join("\n");
    if (line.startsWith("inspect --type task")) {
      const one = ({ id, state }: PretendTask): object => ({ ID: id, Spec: { ContainerSpec: { Image: image } }, Status: { State: state } });
      return JSON.stringify(tasks.map(one));
    }
    if (line.startsWith("image inspect --format {{.Id}}")) return "sha256:1";
    if (line.startsWith("image inspect")) return JSON.stringify([image]);
    if (line.startsWith("run")) return "trial";
    if (line.startsWith("port")) return "127.0.0.1:1";
    if (line.startsWith("ps") || line.startsWith("rm")) return "";
    throw new Error(`unexpected command: docker ${line}`);
  };
  engine = await startPretendEngine((words) => says(words.join(" ")));
  target = await openStackTarget({ env: engine.env, cwd: "/", waitMs: 1000 });
});
afterEach(async () => await engine.close());

/** Deploys the image that serves already, as far as its replicas. */
async function admit(): Promise<void> {
  await target.recover();
  await target.start(await target.fetch("app:v1", { pull: false }));
  await target.admit();
}

test("a replica that failed before the update says nothing about the new version of the same image", async () => {
  tasks = [
    { id: "old", state: "running" },
    { id: "older", state: "failed" },
  ];
  updated = [{ id: "new", state: "running" }];
  await admit();
  expect(await target.brokenBy()).toBeNull();
  // As the Swarm stops it, the old one may end with an error.
  tasks = [
    { id: "new", state: "running" },
    { id: "old", state: "failed" },
  ];
  expect(await target.brokenBy()).toBeNull();
});

test("a replica that fails after the update does", async () => {
  tasks = [{ id: "old", state: "running" }];
  updated = [{ id: "new", state: "failed" }];
  await admit();
  expect(await target.brokenBy()).toBe("a replica ended: failed");
});
