import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { preparePatterns } from "../helpers/pattern-project.ts";
import { traceNode, type TracedProgram } from "../helpers/system-calls.ts";
import { colourPicture, writeTinyBundle } from "../helpers/tiny-bundle.ts";

// Since 1.29 ONNX Runtime writes an identifier of the machine and a store of events below the user's home, and sends them.
const source = join(import.meta.dirname, "../../src");
const main = join(source, "cli/main.ts");
let dir: string;
let project: string;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "serval-telemetry-"));
  project = join(dir, "project");
  await mkdir(project);
  await writeTinyBundle(join(project, "models/colours"));
  await writeFile(join(project, "red.jpg"), await colourPicture("red"));
});
afterAll(async () => await rm(dir, { recursive: true }));

/** The end of a program that looked up no address and wrote nothing outside the project and the user's cache of compiled modules. */
async function endQuietly(program: TracedProgram, projectDir: string): Promise<{ code: number | null; stderr: string }> {
  const { code, stderr, calls } = await program.ended();
  expect(calls.lookedUp).toEqual([]);
  const cache = join(program.home, ".cache");
  const ours = [projectDir, join(cache, "serval")];
  const elsewhere = calls.written.filter((path) => !ours.some((folder) => path === folder || path.startsWith(`${folder}/`)));
  expect(elsewhere.filter((path) => path !== cache)).toEqual([]);
  return { code, stderr };
}

test("the trace shows a look-up and a write", async () => {
  const program = await traceNode(join(dir, "control"), project, [
    "--eval",
    'require("node:fs").writeFileSync(`${process.env.HOME}/.ids`, ""); require("node:dns").lookup("localhost", () => {})',
  ]);
  const { calls } = await program.ended();
  expect(calls.lookedUp).toContainEqual(expect.stringContaining("/etc/hosts"));
  expect(calls.written).toEqual([join(program.home, ".ids")]);
});

describe.concurrent("with a fresh home, no address is looked up and nothing is written outside the project by", () => {
  test("serval predict", async () => {
    const program = await traceNode(join(dir, "predict"), project, [main, "predict", "red.jpg"]);
    expect(await endQuietly(program, project)).toEqual({ code: 0, stderr: "" });
    expect(await program.stdout).toMatch(/red\.jpg +red /);
  });

  test("serval train", async () => {
    const training = join(dir, "training");
    await mkdir(training);
    await preparePatterns(training, 1);
    const program = await traceNode(join(dir, "train"), training, [main, "train"]);
    expect((await endQuietly(program, training)).code).toBe(0);
    expect(await program.stdout).toContain("artifacts/best");
  });

  test("serval serve, which answers until it is stopped", async () => {
    const program = await traceNode(join(dir, "serve"), project, [main, "serve", "--port", "0"], { SERVAL_DRAIN_MS: "0" });
    const [, url] = await program.waitFor(/^Serving .* at (http:\S+)/m);
    const body = await colourPicture("red");
    const reply = await fetch(`${url}/predict`, { method: "POST", headers: { "content-type": "image/jpeg" }, body });
    expect(await reply.json()).toMatchObject({ label: "red" });
    program.stop();
    await endQuietly(program, project);
  });
});

describe.concurrent("a program that uses Serval as a library", () => {
  const classify = `
    import { readFile } from "node:fs/promises";
    import { isMainThread, parentPort, Worker } from "node:worker_threads";
    import { loadBundle, startInference } from ${JSON.stringify(join(source, "index.ts"))};
    export async function run() {
      const bundle = await loadBundle("models/colours");
      const { height, width } = bundle.manifest.preprocess.crop;
      const inference = await startInference(bundle.model, { imageShape: [height, width] });
      const { probabilities } = await inference.run(new Uint8Array(height * width * 3).fill(200), 1);
      await inference.close();
      return probabilities.length;
    }
  `;

  test("sends nothing either", async () => {
    await writeFile(join(project, "library.mjs"), `${classify} console.log(await run());`);
    const program = await traceNode(join(dir, "library"), project, ["library.mjs"]);
    expect((await endQuietly(program, project)).code).toBe(0);
    expect(await program.stdout).toBe("2\n");
  });

  test("is refused a model in a thread, where the environment cannot be changed, and told what to do", async () => {
    const inThread = `${classify}
      if (isMainThread) new Worker(new URL(import.meta.url), { env: { ORT_DISABLE_TELEMETRY: "1" } }).on("message", console.log);
      else parentPort.postMessage(await run().catch((error) => error.code + " " + error.hint));
    `;
    await writeFile(join(project, "thread.mjs"), inThread);
    const refused = await traceNode(join(dir, "thread"), project, ["thread.mjs"]);
    await endQuietly(refused, project);
    expect(await refused.stdout).toMatch(/^E_ENGINE_TELEMETRY Start the program with ORT_DISABLE_TELEMETRY=1 /);
    const allowed = await traceNode(join(dir, "allowed"), project, ["thread.mjs"], { ORT_DISABLE_TELEMETRY: "1" });
    await endQuietly(allowed, project);
    expect(await allowed.stdout).toBe("2\n");
  });
});
