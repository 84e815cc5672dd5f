/**
 * Bad days of the replicas on Docker Swarm (deployment/stack.yaml): each scenario runs under a steady load of predictions by
 * the proxy and prints how long it took, what became of the requests, and which images run at the end. Fails when one ends
 * otherwise than it should. The engine becomes a Swarm meanwhile: do not run it on a machine that is part of one.
 *
 *     npm run long:replicas -- [--only NAME] [--replicas 3] [--stack serval-replicas] [--port 8130] [--base cats-dogs-classifier:latest]
 *
 * Wants the images of docs/deployment.md on the engine: the service, and HAProxy (tests/containers/make-proxy-base.sh).
 */
import { parseArgs } from "node:util";
import { docker, eventually } from "../tests/containers/engine.ts";
import { openStackLab } from "../tests/containers/stack-lab.ts";
import type { LoadResult } from "../tests/containers/steady-load.ts";
import { printReport } from "./report.ts";

const { values } = parseArgs({
  options: {
    only: { type: "string", default: "" },
    replicas: { type: "string", default: "3" },
    stack: { type: "string", default: "serval-replicas" },
    port: { type: "string", default: "8130" },
    base: { type: "string", default: "cats-dogs-classifier:latest" },
  },
});
const replicas = Number(values.replicas);

interface Scenario {
  readonly name: string;
  /** Returns a remark on how it ended. */
  readonly act: () => Promise<string>;
  /** That the remark must be. */
  readonly ends: string;
  readonly image: "v1" | "v2";
  /** Requests without a 200 that it may have. */
  readonly mostFailed: number;
}

interface Line {
  readonly name: string;
  readonly ok: boolean;
  readonly seconds: number;
  readonly ended: string;
  readonly images: readonly string[];
  readonly load: LoadResult;
}

const lab = await openStackLab({ stack: values.stack, port: Number(values.port), replicas, base: values.base });

/** Waits until a container has gone and another one serves in its place. */
async function replaced(id: string): Promise<string> {
  await eventually(
    async () => await lab.replicas(),
    (ids) => !ids.includes(id) && ids.length === replicas,
    170,
  );
  await lab.settled();
  return "replaced";
}

const scenarios: readonly Scenario[] = [
  { name: "rolling update", act: async () => await lab.update("--image", lab.versions.v2), ends: "completed", image: "v2", mostFailed: 0 },
  {
    name: "a version that does not start",
    act: async () => await lab.update("--image", lab.versions.empty),
    ends: "rollback_completed",
    image: "v2",
    mostFailed: 0,
  },
  {
    name: "a replica killed",
    async act() {
      const [id = ""] = await lab.replicas();
      await docker("kill", id);
      return await replaced(id);
    },
    ends: "replaced",
    image: "v2",
    mostFailed: 0,
  },
  {
    name: "a replica frozen",
    async act() {
      const [id = ""] = await lab.replicas();
      await docker("pause", id);
      // Its health check cannot run either; the engine ends it once it is found frozen.
      await new Promise((resolve) => setTimeout(resolve, 25_000));
      await docker("unpause", id).catch(() => "");
      await lab.settled();
      return "thawed or replaced";
    },
    ends: "thawed or replaced",
    image: "v2",
    // At 20 requests a second: what it had in hand.
    mostFailed: 5,
  },
];

const lines: Line[] = [];
try {
  await lab.settled();
  const chosen = scenarios.filter(({ name }, i) => values.only === "" || i === 0 || name.includes(values.only));
  for (const { name, act, ends, image, mostFailed } of chosen) {
    const load = await lab.load();
    const started = performance.now();
    const ended = await act();
    const seconds = (performance.now() - started) / 1000;
    const result = await load.stop();
    const images = await lab.images();
    const right = images.length === replicas && images.every((found) => found === lab.versions[image]);
    const ok = ended === ends && right && result.sent - result.answered <= mostFailed;
    lines.push({ name, ok, seconds, ended, images, load: result });
    console.log(
      `${ok ? "ok  " : "FAIL"} ${name}: ${seconds.toFixed(1)} s, ${ended}; ${result.sent} sent, ${result.answered} answered, ` +
        `failed ${JSON.stringify(result.failed)}, slowest ${result.slowestMs} ms; ${images.join(" ")}`,
    );
  }
} finally {
  await lab.close();
}
printReport(
  `${replicas} replicas behind the proxy`,
  ["scenario", "ok", "seconds", "ended", "images", "sent", "answered", "failed", "slowest ms"],
  lines.map(({ name, ok, seconds, ended, images, load }) => [
    name,
    ok ? "yes" : "NO",
    seconds.toFixed(1),
    ended,
    [...new Set(images.map((image) => image.replace(/^.*:/, "")))].join("+"),
    ...[load.sent, load.answered, load.sent - load.answered, load.slowestMs].map(String),
  ]),
  { replicas, scenarios: lines },
);
if (lines.some(({ ok }) => !ok)) process.exitCode = 1;
