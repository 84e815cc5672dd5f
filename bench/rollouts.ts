/**
 * Bad days of a deploy, on a real engine: each scenario runs `serval deploy` under a steady load of predictions by the proxy
 * and prints how long it took, what became of the requests and what serves at the end. Fails when one ends otherwise
 * than it should.
 *
 *     npm run long:rollouts -- [--only REGEX] [--project serval-rollouts] [--port 8120] [--base cats-dogs-classifier:latest]
 *
 * Wants the images of docs/deployment.md on the engine: the service, and HAProxy (tests/containers/make-proxy-base.sh).
 */
import { isDeepStrictEqual, parseArgs } from "node:util";
import { openRolloutLab, type Deployed, type RolloutLab } from "../tests/containers/rollout-lab.ts";
import { startCutRegistry } from "../tests/containers/cut-registry.ts";
import { docker } from "../tests/containers/engine.ts";
import type { LoadResult } from "../tests/containers/steady-load.ts";
import { printReport } from "./report.ts";

const { values } = parseArgs({
  options: {
    only: { type: "string", default: "" },
    project: { type: "string", default: "serval-rollouts" },
    port: { type: "string", default: "8120" },
    base: { type: "string", default: "cats-dogs-classifier:latest" },
  },
});

interface Ending {
  readonly exit: number | null;
  readonly serving: readonly string[];
  /** Requests without a 200 that a scenario may have. */
  readonly mostFailed?: number;
}

interface Scenario {
  readonly name: string;
  /** Runs under the load, and returns the exit code of the deploy that counts. */
  readonly act: (lab: RolloutLab) => Promise<Deployed>;
  readonly expected: Ending;
}

const quick = ["--no-pull", "--watch", "6"];
/** Every step of a deploy, in its order; a kill comes while the one after it is under way. */
const steps = ["stand", "fetch", "start", "ready", "smoke", "latency", "admit", "watch", "retire", "alone", "public"];

const scenarios: readonly Scenario[] = [
  good("a good version", "v2"),
  bad("has no model, and ends at once", "empty"),
  bad("healthy, and answers wrong", "wrong"),
  bad("ten times slower", "slow"),
  bad("slow under load only", "slowLater"),
  {
    name: "the registry goes down in the middle of a pull",
    async act({ deploy }) {
      const registry = await startCutRegistry(Number(values.port) + 1, 10e6);
      try {
        return await deploy(registry.image);
      } finally {
        await registry.close();
      }
    },
    expected: { exit: 1, serving: ["v2"] },
  },
  // What failed while it was watched did fail: the service itself said so.
  bad("fails under load only", "failsLater", 40),
  // What was in it when it ended is lost with it, and no proxy may ask again for a POST.
  bad("crashes under load only", "crashesLater", 5),
  ...steps.map((step): Scenario => ({
    name: `killed after "${step}", then run again`,
    async act({ deployKilled, deploy, versions }) {
      await deployKilled(step, 300, versions.v1, ...quick);
      return await deploy(versions.v2, "--no-pull", "--watch", "1");
    },
    expected: { exit: 0, serving: ["v2"] },
  })),
  ...["start", "admit", "retire", "public"].map((step): Scenario => ({
    name: `killed after "${step}", then --undo`,
    async act({ deployKilled, deploy, versions }) {
      await deployKilled(step, 300, versions.v1, ...quick);
      return await deploy("--undo");
    },
    expected: { exit: 0, serving: ["v2"] },
  })),
  {
    name: "two at once",
    async act({ deploy, versions }) {
      const first = deploy(versions.v1, ...quick);
      await new Promise((resolve) => setTimeout(resolve, 3000));
      const second = await deploy(versions.v2, ...quick);
      await first;
      return second;
    },
    expected: { exit: 2, serving: ["v1"] },
  },
  {
    name: "--undo of a version that passed",
    act: async ({ deploy }) => await deploy("--undo"),
    expected: { exit: 0, serving: ["v2"] },
  },
  {
    name: "the image before was pruned, then --undo",
    async act({ deploy, versions, project }) {
      for (const tag of [versions.v1, `serval-deploy/${project}:previous`]) await docker("rmi", "--force", tag);
      return await deploy("--undo");
    },
    expected: { exit: 2, serving: ["v2"] },
  },
];

function good(name: string, version: "v1" | "v2"): Scenario {
  return {
    name,
    act: async ({ deploy, versions }) => await deploy(versions[version], ...quick),
    expected: { exit: 0, serving: [version] },
  };
}

/** A rollout that must keep v2, the version before it. */
function bad(name: string, version: keyof RolloutLab["versions"], mostFailed = 0): Scenario {
  return {
    name,
    act: async ({ deploy, versions }) => await deploy(versions[version], "--no-pull", "--watch", "12"),
    expected: { exit: 1, serving: ["v2"], mostFailed },
  };
}

interface Line {
  readonly name: string;
  readonly ok: boolean;
  readonly seconds: number;
  readonly exit: number | null;
  readonly serving: readonly string[];
  readonly load: LoadResult;
  readonly error: string;
}

const lab = await openRolloutLab({ project: values.project, port: Number(values.port), base: values.base });
const lines: Line[] = [];
try {
  const first = await lab.deploy(lab.versions.v1, "--no-pull", "--watch", "0");
  if (first.code !== 0) throw new Error(`the first version does not come up:\n${first.output}`);
  const initial: Scenario = good("a good version", "v2");
  const chosen = scenarios.filter(({ name }) => new RegExp(values.only).test(name));
  for (const scenario of values.only === "" ? chosen : [initial, ...chosen]) {
    const load = await lab.load();
    const started = performance.now();
    const { code, output, report } = await scenario.act(lab);
    const seconds = (performance.now() - started) / 1000;
    const result = await load.stop();
    const serving = await lab.serving();
    const lost = Object.values(result.failed).reduce((sum, count) => sum + count, 0);
    const { exit, mostFailed = 0 } = scenario.expected;
    const ok = code === exit && isDeepStrictEqual(serving, scenario.expected.serving) && lost <= mostFailed;
    const error = report?.error?.message ?? /^E_\w+: .*$/m.exec(output)?.[0] ?? "";
    lines.push({ name: scenario.name, ok, seconds, exit: code, serving, load: result, error });
    const failed = lost === 0 ? "0" : JSON.stringify(result.failed);
    console.log(
      `${ok ? "ok  " : "FAIL"} ${scenario.name}: ${seconds.toFixed(1)} s, exit ${code}, ${serving.join(" and ") || "nothing"} serves; ` +
        `${result.sent} sent, ${result.answered} answered, ${result.busy} refused as too many, ${failed} failed, slowest ${result.slowestMs} ms${error === "" ? "" : `\n       ${error}`}`,
    );
    if (!ok) console.log(output);
  }
} finally {
  await lab.close();
}
printReport(
  "Bad days of a deploy",
  ["scenario", "ok", "seconds", "exit", "serves", "sent", "answered", "busy", "failed", "slowest ms"],
  lines.map(({ name, ok, seconds, exit, serving, load }) => {
    const failed = load.sent - load.answered - load.busy;
    return [
      name,
      ok ? "yes" : "NO",
      seconds.toFixed(1),
      String(exit),
      serving.join("+"),
      ...[load.sent, load.answered, load.busy, failed, load.slowestMs].map(String),
    ];
  }),
  { scenarios: lines },
);
if (lines.some(({ ok }) => !ok)) process.exitCode = 1;
