import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ServalError } from "../../../src/errors/serval-error.ts";
import { parseCounters, type Counters } from "../../../src/deploy/counters.ts";
import { rollOut, type RolloutOptions, type RolloutReport } from "../../../src/deploy/rollout.ts";
import { addCounters } from "../../../src/deploy/stack/swarm-service.ts";
import type { Observation, PreviousRelease, Release, Standing, Target } from "../../../src/deploy/target.ts";
import { startTestService, type TestService } from "../../helpers/service.ts";

let service: TestService;
beforeAll(async () => void (service = await startTestService()));
afterAll(async () => await service.close());

const release = (version: string): Release => ({ version, imageId: `sha256:${version.padEnd(64, "0")}`, model: "" });
const [v1, v2] = [release("app:v1"), release("app:v2")];
const none: Counters = { requests: 0, failed: 0, durations: [] };
const bounds = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, Infinity];

/** This number of requests, each of which took between a quarter of a second and half of one. */
function photographs(requests: number): Counters {
  return { requests, failed: 0, durations: bounds.map((bound) => [bound, bound >= 0.5 ? requests : 0]) };
}

/** A place that keeps no containers: it notes what is asked of it, and fails where it is told to. */
class NotingTarget implements Target {
  readonly name = "notes";
  readonly lock = "notes";
  readonly asked: string[] = [];
  serving: Release | null = v1;
  previous: PreviousRelease | null = null;
  repaired: string[] = [];
  undone = false;
  failsAt = "";
  /** This call never comes back. */
  endlessAt = "";
  candidate: Counters = none;
  before: () => Promise<Counters> = async () => none;
  /** Where the previous version answers. */
  urlBefore = (): string => service.url;
  onCall: (name: string) => void = () => undefined;

  async #note(name: string): Promise<void> {
    this.asked.push(name);
    this.onCall(name);
    if (name === this.failsAt) throw new ServalError("E_DEPLOY_REFUSED", `${name} fails.`);
    if (name === this.endlessAt) await new Promise(() => undefined);
  }
  async survey(): Promise<Standing> {
    return await this.recover();
  }
  async recover(): Promise<Standing> {
    await this.#note("recover");
    return { serving: this.serving, previous: this.previous, repaired: this.repaired, undone: this.undone };
  }
  async fetch(version: string): Promise<Release> {
    await this.#note(`fetch ${version}`);
    return release(version);
  }
  async start(): Promise<{ url: string }> {
    await this.#note("start");
    return { url: service.url };
  }
  async addressBefore(): Promise<string | null> {
    return this.serving && this.urlBefore();
  }
  async brokenBy(): Promise<string | null> {
    return this.failsAt === "brokenBy" ? "it ended" : null;
  }
  async admit(): Promise<void> {
    await this.#note("admit");
  }
  async observe(): Promise<Observation> {
    return { broken: await this.brokenBy(), candidate: this.candidate, before: this.serving && (await this.before()) };
  }
  async retire(): Promise<void> {
    await this.#note("retire");
  }
  async commit(): Promise<void> {
    await this.#note("commit");
  }
  async takeBack(): Promise<Release | null> {
    await this.#note("takeBack");
    return this.serving;
  }
  async publicAddress(): Promise<string> {
    return service.url;
  }
  async log(): Promise<string> {
    return "";
  }
}

async function roll(target: NotingTarget, options: Partial<RolloutOptions> = {}): Promise<RolloutReport> {
  const always = { version: v2.version, pull: true, waitMs: 5000, watchSeconds: 0, maxLatencyMs: 10_000 };
  return await rollOut(target, { ...always, ...options });
}

describe("a rollout", () => {
  test("goes step by step, and the last one is what makes the version good", async () => {
    const target = new NotingTarget();
    const report = await roll(target);
    expect(report).toMatchObject({ outcome: "deployed", version: "app:v2", serving: v2, before: v1, error: null });
    expect(target.asked).toEqual(["recover", "fetch app:v2", "start", "admit", "retire", "commit"]);
    const names = ["stand", "fetch", "start", "ready", "smoke", "latency", "admit", "watch", "retire", "alone", "public", "commit"];
    expect(report.steps.map(({ name, passed }) => [name, passed])).toEqual(names.map((name) => [name, true]));
  });

  test.each(["start", "admit", "retire", "commit"])("that fails at %s is taken back", async (step) => {
    const target = new NotingTarget();
    target.failsAt = step;
    const report = await roll(target);
    expect(report).toMatchObject({ outcome: "refused", serving: v1, error: { code: "E_DEPLOY_REFUSED", message: `${step} fails.` } });
    expect(target.asked.slice(-2)).toEqual([step, "takeBack"]);
    expect(report.steps.at(-2)).toMatchObject({ name: step, passed: false });
  });

  test("is judged by what users asked before, not by the small pictures of the smoke tests", async ({ onTestFinished }) => {
    const old = await startTestService();
    onTestFinished(async () => await old.close());
    const target = new NotingTarget();
    target.urlBefore = () => old.url;
    // Between two looks users send a few photographs, and many once both versions serve: equally slow ones.
    let [sent, more] = [0, 3];
    target.onCall = (name) => void (name === "admit" && (more = 30));
    target.before = async () => {
      sent += more;
      target.candidate = photographs(sent);
      return addCounters(photographs(sent), parseCounters(await (await fetch(`${old.url}/metrics`)).text()));
    };
    const { outcome, steps } = await roll(target);
    expect(steps.filter(({ passed }) => !passed)).toEqual([]);
    expect(outcome).toBe("deployed");
  });

  test("whose version ends while it is watched is taken back", async () => {
    const target = new NotingTarget();
    target.onCall = (name) => {
      if (name === "admit") target.failsAt = "brokenBy";
    };
    expect(await roll(target, { watchSeconds: 30 })).toMatchObject({
      outcome: "refused",
      error: { message: "It does not serve any more: it ended." },
    });
    expect(target.asked).toContain("takeBack");
  });

  test.each([
    ["recover", "stand", "The version that served before still serves."],
    ["fetch app:v2", "fetch", "app:v1 serves."],
    ["start", "start", "app:v1 serves. app:v2 was started beside it and gets no requests."],
    ["admit", "admit", "Requests go to app:v1 and app:v2."],
    ["retire", "retire", "app:v2 serves, and has not passed its checks yet. app:v1 was stopped."],
    ["commit", "commit", "app:v2 serves, and may not be recorded as the version that passed last."],
  ])("that is stopped during %s waits for nothing, and says what serves", async (call, step, serves) => {
    const [target, controller] = [new NotingTarget(), new AbortController()];
    target.onCall = (name) => {
      if (name === call) controller.abort(new ServalError("E_INTERRUPTED", "Stopped by SIGTERM."));
    };
    target.endlessAt = call;
    const { outcome, error, steps } = await roll(target, { signal: controller.signal });
    expect([outcome, error?.code, error?.message]).toEqual([
      "stopped",
      "E_INTERRUPTED",
      `Stopped by SIGTERM during the step "${step}". ${serves}`,
    ]);
    expect(steps.at(-1)).toMatchObject({ name: step, passed: false });
    expect(target.asked.at(-1)).toBe(call);
  });

  test("that is stopped while its version is taken back waits for nothing either", async () => {
    const [target, controller] = [new NotingTarget(), new AbortController()];
    target.failsAt = "retire";
    target.endlessAt = "takeBack";
    target.onCall = (name) => {
      if (name === "takeBack") controller.abort(new ServalError("E_INTERRUPTED", "Stopped by SIGTERM."));
    };
    expect(await roll(target, { signal: controller.signal })).toMatchObject({
      outcome: "stopped",
      error: { message: 'Stopped by SIGTERM during the step "take back". app:v1 or app:v2 serves: app:v2 was being taken back.' },
    });
  });

  test("that is stopped where nothing served before says that", async () => {
    const [target, controller] = [new NotingTarget(), new AbortController()];
    target.serving = null;
    target.onCall = (name) => {
      if (name === "start") controller.abort(new ServalError("E_INTERRUPTED", "Stopped by SIGTERM."));
    };
    target.endlessAt = "start";
    expect(await roll(target, { signal: controller.signal })).toMatchObject({
      outcome: "stopped",
      serving: null,
      error: { message: 'Stopped by SIGTERM during the step "start". Nothing serves. app:v2 was started and gets no requests.' },
    });
  });

  test("that fails where nothing served, or whose way back fails, leaves nothing", async () => {
    const first = new NotingTarget();
    first.serving = null;
    first.failsAt = "admit";
    expect(await roll(first)).toMatchObject({ outcome: "down", serving: null });
    const stuck = new NotingTarget();
    stuck.failsAt = "retire";
    stuck.onCall = (name) => {
      if (name === "takeBack") stuck.failsAt = name;
    };
    expect(await roll(stuck)).toMatchObject({ outcome: "down", serving: null, error: { message: "retire fails." } });
  });

  test("that cannot get the image touches nothing", async () => {
    const target = new NotingTarget();
    target.failsAt = "fetch app:v2";
    expect(await roll(target)).toMatchObject({ outcome: "refused", serving: v1 });
    expect(target.asked).toEqual(["recover", "fetch app:v2"]);
  });
});

describe("an undo", () => {
  const undo = { version: { undo: true } } as const;

  test("brings the previous version through the same steps, pulled by its digest where its image was pruned", async () => {
    const target = new NotingTarget();
    target.previous = { ...v2, there: true, origin: null };
    expect(await roll(target, undo)).toMatchObject({ outcome: "deployed", serving: v2 });
    expect(target.asked).toEqual(["recover", "start", "admit", "retire", "commit"]);
    const pruned = new NotingTarget();
    pruned.previous = { ...v2, imageId: "", there: false, origin: "app@sha256:abc" };
    expect(await roll(pruned, undo)).toMatchObject({ outcome: "deployed", serving: { version: "app:v2" } });
    expect(pruned.asked).toContain("fetch app@sha256:abc");
  });

  test("says that there is nothing to go back to, or that its image is gone, and touches nothing", async () => {
    const target = new NotingTarget();
    await expect(roll(target, undo)).rejects.toMatchObject({
      code: "E_DEPLOY_NOT_READY",
      message: expect.stringContaining("none served here before") as string,
    });
    target.previous = { ...v2, imageId: "", there: false, origin: null };
    await expect(roll(target, undo)).rejects.toMatchObject({
      message: "The image of app:v2, the previous version, was removed from this machine, and was not pulled from a registry.",
    });
    expect(target.asked).toEqual(["recover", "recover"]);
  });

  test("pulls nothing with --no-pull, and says so where that would take it", async () => {
    const target = new NotingTarget();
    target.previous = { ...v2, imageId: "", there: false, origin: "app@sha256:abc" };
    await expect(roll(target, { ...undo, pull: false })).rejects.toMatchObject({
      code: "E_DEPLOY_NOT_READY",
      message: "The image of app:v2, the previous version, was removed from this machine, and --no-pull says not to get it again.",
    });
    expect(target.asked).toEqual(["recover"]);
  });

  test("of a deploy that was cut short is done when that is put right", async () => {
    const target = new NotingTarget();
    target.repaired = ["A deploy was cut short."];
    target.undone = true;
    target.previous = { ...v2, there: true, origin: null };
    expect(await roll(target, undo)).toMatchObject({ outcome: "deployed", serving: v1 });
    expect(target.asked).toEqual(["recover"]);
  });
});
