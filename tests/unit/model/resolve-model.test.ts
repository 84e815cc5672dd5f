import { mkdir, mkdtemp, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { ServalError } from "../../../src/errors/serval-error.ts";
import { releasedModels, resolveDefaultModel, resolveModel } from "../../../src/model/resolve-model.ts";
import { writeTinyBundle } from "../../helpers/tiny-bundle.ts";

let cwd: string;
beforeEach(async () => void (cwd = await mkdtemp(join(tmpdir(), "serval-resolve-"))));
afterEach(async () => await rm(cwd, { recursive: true }));

const resolveUnnamed = async (preferred = "classifier"): Promise<string> => (await resolveDefaultModel(cwd, async () => preferred)).dir;

async function refusal(name: string | undefined): Promise<ServalError> {
  const error = await (name === undefined ? resolveUnnamed() : resolveModel(name, cwd)).catch((reason: unknown) => reason);
  expect(error).toBeInstanceOf(ServalError);
  return error as ServalError;
}

it("finds a bundle by its folder, by the model.onnx inside, and by its released name", async () => {
  const dir = join(cwd, "models", "colours");
  await writeTinyBundle(dir);
  for (const name of ["models/colours", "./models/colours/", dir, "models/colours/model.onnx", "colours"]) {
    expect(await resolveModel(name, cwd)).toEqual({ dir, released: "colours" });
  }
});

it("does not call a bundle outside models/ released", async () => {
  await writeTinyBundle(join(cwd, "artifacts", "final"));
  expect(await resolveModel("artifacts/final", cwd)).toEqual({ dir: join(cwd, "artifacts", "final"), released: null });
});

it("takes the only released model when none is named, and not the trained one", async () => {
  await writeTinyBundle(join(cwd, "artifacts", "best"));
  await writeTinyBundle(join(cwd, "models", "one"));
  expect(await resolveUnnamed()).toBe(join(cwd, "models", "one"));
});

it("takes the preferred one of several released models, and the trained one where none of them is preferred", async () => {
  const trained = join(cwd, "artifacts", "best");
  await writeTinyBundle(trained);
  expect(await resolveUnnamed("two")).toBe(trained);
  await writeTinyBundle(join(cwd, "models", "one"));
  await writeTinyBundle(join(cwd, "models", "two"));
  expect(await resolveUnnamed("two")).toBe(join(cwd, "models", "two"));
  expect(await resolveUnnamed("three")).toBe(trained);
  await rm(trained, { recursive: true });
  const error = await refusal(undefined);
  expect(error.message).toContain(
    '2 models are released (one, two), model.name of params.yaml is "classifier", and none was trained here.',
  );
  expect(error.hint).toBe("Choose one: --model one, or model.name in params.yaml.");
});

it("says where it looked when there is no model at all", async () => {
  const error = await refusal(undefined);
  expect(error.code).toBe("E_BUNDLE_MISSING");
  expect(error.message).toContain("neither a released one in models/ nor artifacts/best");
});

it("names what is released when the name is not known", async () => {
  await writeTinyBundle(join(cwd, "models", "one"));
  const error = await refusal("won");
  expect(error.code).toBe("E_BUNDLE_MISSING");
  expect(error.message).toContain('"won" is neither a model bundle (a folder with bundle.json) nor a released model; released here: one.');
});

it("asks for the bundle of a lonely .onnx file, and does not take another model's bundle for it", async () => {
  await writeFile(join(cwd, "model.onnx"), "x");
  expect((await refusal("model.onnx")).message).toContain("has no bundle.json beside it");
  await writeTinyBundle(join(cwd, "models", "one"));
  await writeFile(join(cwd, "models", "one", "other.onnx"), "x");
  expect((await refusal("models/one/other.onnx")).code).toBe("E_BUNDLE_MISSING");
});

it("says that a models:/ address needs a registry", async () => {
  expect((await refusal("models:/cats-dogs@champion")).code).toBe("E_MODEL_REGISTRY");
});

it("does not leave models/ through a name", async () => {
  await writeTinyBundle(join(cwd, "secret"));
  await mkdir(join(cwd, "models"));
  expect((await refusal("..secret")).code).toBe("E_BUNDLE_MISSING");
  expect((await resolveModel("models/../secret", cwd)).released).toBe(null);
});

it("lists released bundles by name and leaves out everything else in models/", async () => {
  await writeTinyBundle(join(cwd, "models", "b"));
  await writeTinyBundle(join(cwd, "models", "a"));
  await mkdir(join(cwd, "models", "no-bundle"));
  await writeFile(join(cwd, "models", "README.md"), "");
  await rename(join(cwd, "models", "b"), join(cwd, "models", ".b.previous"));
  expect(await releasedModels(cwd)).toEqual(["a"]);
});
