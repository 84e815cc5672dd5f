import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { runCli } from "../../src/cli/main.ts";
import { colourPicture, writeTinyBundle } from "../helpers/tiny-bundle.ts";
import { recordedContext } from "../helpers/recorded-output.ts";
import { startServal } from "../helpers/serval-process.ts";

let cwd: string;
let versions: Readonly<Record<"few" | "many", string>>;
const choose = async (name: string): Promise<void> => await writeFile(join(cwd, "params.yaml"), `model:\n  name: ${name}\n`);

beforeAll(async () => {
  cwd = await mkdtemp(join(tmpdir(), "serval-default-"));
  const release = async (name: string, sharpness: number): Promise<string> =>
    (await writeTinyBundle(join(cwd, "models", name), { name, sharpness })).digest.slice(0, 12);
  versions = { few: await release("few", 3), many: await release("many", 6) };
  await mkdir(join(cwd, "pictures", "red"), { recursive: true });
  await writeFile(join(cwd, "pictures", "red", "1.jpg"), await colourPicture("red", 1));
});
afterAll(async () => await rm(cwd, { recursive: true }));
beforeEach(async () => await choose("many"));

async function serval(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  const context = recordedContext(cwd);
  const code = await runCli(args, context);
  return { code, stdout: context.stdout.text, stderr: context.stderr.text };
}
async function json<T>(...args: string[]): Promise<T> {
  const { code, stdout, stderr } = await serval(...args, "--json");
  expect(code, stderr).toBe(0);
  return JSON.parse(stdout) as T;
}

describe("where two models are released, model.name of params.yaml is the one that is meant", () => {
  test("by models show, predict, evaluate, export and lineage", async () => {
    const confidences = new Set<number>();
    for (const name of ["many", "few"] as const) {
      await choose(name);
      expect(await json<object>("models", "show")).toMatchObject({ version: versions[name] });
      const [answer] = await json<{ confidence: number }[]>("predict", "pictures/red/1.jpg");
      confidences.add(answer?.confidence ?? 0);
      expect(await json<object>("evaluate", "--data", "pictures")).toMatchObject({ model: { name } });
      expect(await json<object>("export", "--format", "onnx")).toMatchObject({ model: { name } });
      expect((await serval("lineage")).stdout).toContain(name);
    }
    // Two models answered, one after the other.
    expect(confidences.size).toBe(2);
  });

  test.each(["serve", "up"])("by serval %s, also where another one was trained since", async (verb) => {
    await choose("few");
    await writeTinyBundle(join(cwd, "artifacts", "best"), { name: "few", sharpness: 9 });
    const service = startServal(cwd, [verb, "--port", "0"], { SERVAL_WORKERS: "1" });
    const health = (await (await fetch(`${await service.address()}/health`)).json()) as { model: unknown };
    expect(health.model).toMatchObject({ name: "few", version: versions.few });
    await service.stop("SIGTERM");
    await rm(join(cwd, "artifacts", "best"), { recursive: true });
  });

  test("and where it names neither of them, a command says so and what to do", async () => {
    await choose("other");
    const { code, stderr } = await serval("models", "show");
    expect(code).toBe(2);
    expect(stderr).toContain(
      'E_BUNDLE_MISSING: 2 models are released (few, many), model.name of params.yaml is "other", and none was trained here.',
    );
    expect(stderr).toContain("Choose one: --model few, or model.name in params.yaml.");
  });

  test("and a params.yaml that is wrong is said to be, not passed over", async () => {
    await choose("Not A Name");
    const { stderr } = await serval("models", "show");
    expect(stderr).toContain("E_PARAMS: params.yaml:2: model.name: expected 1 to 63 of");
    expect(await json<object>("models", "show", "few")).toMatchObject({ version: versions.few });
  });
});
