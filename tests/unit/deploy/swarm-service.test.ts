import { describe, expect, it } from "vitest";
import type { Engine } from "../../../src/deploy/engine.ts";
import { addCounters, failureOf, readService, variableOf } from "../../../src/deploy/stack/swarm-service.ts";

/** An engine that answers from a list: the start of a command line -> what it prints. */
function engineSaying(answers: Readonly<Record<string, string>>): Engine {
  const find = async (args: readonly string[]): Promise<string> => {
    const line = args.join(" ");
    const found = Object.entries(answers).find(([start]) => line.startsWith(start));
    return found ? found[1] : await Promise.reject(new Error(`unexpected command: ${line}`));
  };
  return { docker: find, ask: find, compose: find };
}

const spec = {
  Labels: { "serval.proven": "no" },
  TaskTemplate: { ContainerSpec: { Image: "app@sha256:1", Env: ["SERVAL_MODEL=models:/a@b=c"] }, Networks: [{ Target: "net1" }] },
  Mode: { Replicated: { Replicas: 3 } },
};

describe("a service of the Swarm", () => {
  it("is read with its image, its environment, and what became of its last update", async () => {
    const UpdateStatus = { State: "rollback_completed", Message: "rollback completed" };
    const service = await readService(engineSaying({ "service inspect": JSON.stringify([{ Spec: spec, UpdateStatus }]) }), "app");
    expect(service).toMatchObject({ image: "app@sha256:1", networks: ["net1"], replicas: 3, publishedPort: null });
    expect(service.update).toEqual({ state: "rollback_completed", message: "rollback completed" });
    expect([variableOf(service, "SERVAL_MODEL"), variableOf(service, "SERVAL_MODE")]).toEqual(["models:/a@b=c", ""]);
  });

  it("has no update right after a change, as the engine leaves it out", async () => {
    for (const inspected of [{ Spec: spec }, { Spec: spec, UpdateStatus: {} }]) {
      const engine = engineSaying({ "service inspect": JSON.stringify([inspected]) });
      expect((await readService(engine, "app")).update).toBeNull();
    }
  });

  it("tells why a replica of one image ended by itself, and nothing of those of another", async () => {
    const task = (image: string, state: string, error: string): object => ({
      ID: `${image} ${state}`,
      Spec: { ContainerSpec: { Image: image } },
      Status: { State: state, Err: error },
    });
    const tasks = [task("old", "failed", "killed"), task("new", "running", ""), task("new", "rejected", "no such image")];
    const engine = engineSaying({ "service ps": "1\n2\n3", "inspect --type task": JSON.stringify(tasks) });
    expect(await failureOf(engine, "app", "new", [])).toEqual({ task: "new rejected", why: "a replica ended: no such image" });
    expect(await failureOf(engine, "app", "newer", [])).toBeNull();
    expect(await failureOf(engine, "app", "new", ["new rejected"])).toBeNull();
  });
});

describe("addCounters", () => {
  it("adds what two replicas counted, bound by bound", () => {
    const a = { requests: 3, failed: 1, durations: [[0.1, 2] as const, [Infinity, 3] as const] };
    const b = { requests: 1, failed: 0, durations: [[0.05, 0] as const, [0.1, 1] as const, [Infinity, 1] as const] };
    const durations = [
      [0.05, 0],
      [0.1, 3],
      [Infinity, 4],
    ];
    expect(addCounters(a, b)).toEqual({ requests: 4, failed: 1, durations });
  });
});
