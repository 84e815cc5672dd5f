import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { openComposeTarget } from "../../../src/deploy/compose/compose-target.ts";
import { createMarks } from "../../../src/deploy/compose/release-marks.ts";
import { rollOut, type RolloutOptions, type RolloutReport } from "../../../src/deploy/rollout.ts";
import { ServalError } from "../../../src/errors/serval-error.ts";
import { pretendProject, startPretendCompose, type PretendCompose } from "../../helpers/pretend-compose.ts";
import { startTestService, type TestService } from "../../helpers/service.ts";

const image = (digit: string): string => `sha256:${digit.repeat(64)}`;
const [v0, v1, v2] = [image("0"), image("1"), image("2")];
const marks = createMarks(pretendProject);

let service: TestService;
let project: PretendCompose;
beforeAll(async () => void (service = await startTestService()));
afterAll(async () => await service.close());
beforeEach(async () => {
  project = await startPretendCompose(service.url);
  project.tag(["app:v1", v1], ["app:v2", v2], ["app:latest", v1]);
  project.tag([marks.current, v1], [marks.note("current", "app:v1"), v1], [marks.note("current-model", ""), v1]);
});
afterEach(async () => await project.close());

async function deploy(options: Partial<RolloutOptions> = {}): Promise<RolloutReport> {
  const target = await openComposeTarget({ dir: project.dir, cwd: project.dir, env: project.env, waitMs: 5000 });
  const always = { version: "app:v2", pull: false, waitMs: 5000, watchSeconds: 0, maxLatencyMs: 10_000 };
  return await rollOut(target, { ...always, ...options });
}

const standing = (): string[] => project.containers.map(({ image: of, running }) => `${of.slice(7, 8)} ${running ? "runs" : "ended"}`);

describe("a container of the version before that does not start any more", () => {
  test("is replaced by a version that works", async () => {
    project.add(v1, { running: false, broken: true });
    const { outcome, steps } = await deploy();
    expect(steps.filter(({ passed }) => !passed)).toEqual([]);
    expect([outcome, standing()]).toEqual(["deployed", ["2 runs"]]);
    expect(steps[0]?.message).toContain("does not start any more");
    expect(steps.find(({ name }) => name === "latency")?.message).toBe("nothing to compare with");
  });

  test("does not make the deploy leave a failed version beside it", async () => {
    project.add(v1, { running: false, broken: true });
    const { outcome, error } = await deploy({ maxLatencyMs: 0 });
    expect(error?.message).toContain("expected at most 0 ms");
    expect([outcome, standing()]).toEqual(["down", ["1 ended"]]);
  });

  test("is put up with also where a version that got requests ended, too", async () => {
    project.add(v1, { running: false, broken: true });
    project.add(v2, { running: false, broken: true });
    const { outcome } = await deploy();
    expect([outcome, standing()]).toEqual(["deployed", ["2 runs"]]);
  });
});

describe("the name that the compose file has", () => {
  test("belongs to the new version only while compose makes its container", async () => {
    project.add(v1);
    const named: [string, string][] = [];
    const set = project.tags.set.bind(project.tags);
    project.tags.set = (tag, of) => {
      if (tag === "app:latest") named.push([of, [...project.tags.keys()].filter((key) => /:(named|candidate)$/.test(key)).join(" ")]);
      return set(tag, of);
    };
    expect((await deploy({ maxLatencyMs: 0 })).outcome).toBe("refused");
    expect(named).toEqual([
      [v2, `${marks.named} ${marks.candidate}`],
      [v1, `${marks.named} ${marks.candidate}`],
    ]);
    expect([project.tags.has(marks.named), project.tags.has(marks.candidate)]).toEqual([false, false]);
  });

  test.each([
    ["goes back to the previous version when a deploy was killed in the middle of that", v2, v1],
    ["stays with an image that was built since", image("3"), image("3")],
  ])("%s", async (_, now, after) => {
    project.add(v1);
    project.add(v2, { running: false, admitted: false });
    project.tag(["app:latest", now], [marks.named, v1], [marks.candidate, v2], [marks.previous, v0], ["app:v0", v0]);
    expect((await deploy({ version: { undo: true } })).outcome).toBe("deployed");
    expect([project.tags.get("app:latest"), standing()]).toEqual([after, ["1 runs"]]);
    expect([project.tags.has(marks.named), project.tags.has(marks.candidate)]).toEqual([false, false]);
  });
});

describe("a service that was scaled", () => {
  beforeEach(() => {
    project.tag(["app:v0", v0], [marks.previous, v0]);
    project.tag([marks.note("previous", "app:v0"), v1], [marks.note("previous-model", ""), v1]);
    project.add(v1);
    project.add(v1);
  });

  test("goes back to the previous version as a whole by an undo", async () => {
    const { outcome, steps } = await deploy({ version: { undo: true } });
    expect(steps.filter(({ passed }) => !passed)).toEqual([]);
    expect([outcome, steps[0]?.message, standing()]).toEqual(["deployed", "serving: app:v1", ["0 runs"]]);
  });

  test("runs as it did after a deploy that failed", async () => {
    const { outcome, steps } = await deploy({
      onStep: ({ name }) => {
        if (name !== "retire") return;
        expect(standing()).toEqual(["1 ended", "1 ended", "2 runs"]);
        const [candidate] = project.containers.slice(-1);
        if (candidate) candidate.running = false;
      },
    });
    expect(steps.map(({ name }) => name)).toContain("retire");
    expect([outcome, standing()]).toEqual(["refused", ["1 runs", "1 runs"]]);
  });

  test("runs as it did after a deploy that was stopped when only the new version ran, and the undo of that", async () => {
    const stopped = new AbortController();
    const { outcome, error } = await deploy({
      signal: stopped.signal,
      onStep: ({ name }) => {
        if (name === "retire") stopped.abort(new ServalError("E_INTERRUPTED", "Stopped by SIGINT."));
      },
    });
    expect([outcome, standing()]).toEqual(["stopped", ["1 ended", "1 ended", "2 runs"]]);
    expect(error?.message).toBe(
      'Stopped by SIGINT after the step "retire". app:v2 serves, and has not passed its checks yet. app:v1 was stopped.',
    );
    const undone = await deploy({ version: { undo: true } });
    expect([undone.outcome, standing()]).toEqual(["deployed", ["1 runs", "1 runs"]]);
  });
});
