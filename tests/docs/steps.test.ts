import { execFile } from "node:child_process";
import { cp, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { parse, parseDocument } from "yaml";
import { startModelHub } from "../helpers/model-hub.ts";
import { foreignFile } from "../helpers/onnx-backbone.ts";
import { findBlock } from "./blocks.ts";
import { Reader, shows } from "./reader.ts";
import { makeUserFolder } from "./user-folder.ts";

// A project that is set up and trained step by step. Each test follows a page in the folder as the tests before left it.

const run = promisify(execFile);
let folder: Awaited<ReturnType<typeof makeUserFolder>>;
let reader: Reader;
const at = (...parts: string[]): string => join(folder.dir, ...parts);
beforeAll(async () => {
  folder = await makeUserFolder("cats-dogs");
  reader = await Reader.in(folder.dir);
  for (const name of ["photo.jpg", "picture.jpg", "test_image.jpg", "a.jpg", "b.jpg"]) await cp(at("images/cat/1.jpg"), at(name));
});
afterAll(async () => await folder.remove());

const textOf = (page: string, begins: string): string => `${findBlock(page, begins).lines.join("\n")}\n`;
/** Runs a program of the project with this Node, and gives what it printed. */
async function runProgram(name: string, text: string): Promise<string> {
  await writeFile(at(name), text);
  return (await run(process.execPath, [name], { cwd: folder.dir })).stdout;
}

test("README.md: each step alone, from `serval init` to `serval serve`", async () => {
  const output = await reader.follow("README.md", "npx serval init");
  expect(output).toContain("Released version");
  expect(output).toMatch(/^Serving cats-dogs /m);
});

test("docs/fine-tuning.md: `serval init` writes the settings that the page shows", async () => {
  const shown = parse(textOf("docs/fine-tuning.md", "prepare:")) as object;
  expect(parse(await readFile(at("params.yaml"), "utf8"))).toMatchObject(shown);
});

test("README.md: a program classifies with the released model, and a route of Fastify does", async () => {
  const sample = textOf("README.md", "import { loadClassifier }").replace("models/roses", "models/cats-dogs");
  const before = 'import { readFile } from "node:fs/promises";\nconst buffer = await readFile("photo.jpg");\n';
  expect(await runProgram("classify.ts", `${before}${sample}console.log(label, confidence > 0.5);\n`)).toBe("cat true\n");
  const route = textOf("README.md", "app.addContentTypeParser");
  const around = sample.replace(
    /^const \{ label.*$/m,
    () => `const app = fastify();\n${route}
const answer = await app.inject({ method: "POST", url: "/classify", headers: { "content-type": "image/jpeg" }, payload: buffer });
console.log(answer.json().label);`,
  );
  expect(await runProgram("route.ts", `import { fastify } from "fastify";\n${before}${around}`)).toBe("cat\n");
});

test("docs/scoring.md: a folder into a file, and two shards that concatenate", async () => {
  expect(await reader.follow("docs/scoring.md", "npx serval score images --out")).toMatch(/^scores\.csv: 60 rows by cats-dogs /m);
  await reader.follow("docs/scoring.md", "npx serval score images --shard");
  expect((await readFile(at("scores.jsonl"), "utf8")).split("\n")).toHaveLength(61);
});

test("docs/service.md: curl asks the service for answers, a map and a batch", async () => {
  await reader.follow("docs/service.md", "curl -F", { before: "npx serval serve" });
  expect((await readFile(at("where.png"))).subarray(1, 4).toString()).toBe("PNG");
});

test("README.md, docs/monitoring.md: the monitor compares the service's answers with the training, and they leave as a table", async () => {
  expect(await reader.follow("README.md", "npx serval monitor")).toMatch(/^cats-dogs [0-9a-f]{12}: the last \d+ answers/m);
  expect(await reader.follow("docs/monitoring.md", "npx serval monitor")).toMatch(/^cats-dogs /m);
  expect(await reader.follow("docs/monitoring.md", "cd FOLDER", { put: { FOLDER: "." } })).toMatch(/^cats-dogs /m);
  expect(await readFile(at("predictions.csv"), "utf8")).toContain("sharpness");
  expect(await readFile(at("monitor.html"), "utf8")).toMatch(/^<!doctype html>/i);
  expect((await readFile(at("predictions.parquet"))).subarray(0, 4).toString()).toBe("PAR1");
});

test("docs/service.md, docs/operations.md: a service with keys", async () => {
  const restart = "# for the service\nSERVAL_API_KEYS_FILE=keys.txt npx serval serve";
  const output = await reader.follow("docs/service.md", "key=$(openssl", { put: { "# for the service; restart it": restart } });
  expect(output).toContain('"label":"cat"');
  await reader.follow("docs/operations.md", "SERVAL_HOSTS=");
});

test("the model card's commands, in the folder of the model", async () => {
  await cp(at("picture.jpg"), at("models/cats-dogs/picture.jpg"));
  const inModel = await Reader.in(at("models/cats-dogs"));
  expect(await inModel.follow("models/cats-dogs/README.md", "npx serval predict")).toContain('"label":"cat"');
  await rm(at("models/cats-dogs/picture.jpg"));
});

test("docs/backbones.md: the list, weights from a file, a model and a hub, and an ONNX file", async () => {
  const list = await reader.follow("docs/backbones.md", "npx serval backbones list");
  expect(shows(list, findBlock("docs/backbones.md", "name "))).toBeUndefined();

  const weights = at("node_modules/serval/models/backbones/efficientnet-lite0/weights.safetensors");
  await cp(weights, at("weights.safetensors"));
  await cp(at("models/cats-dogs"), at("models/flowers"), { recursive: true });
  const hub = await startModelHub();
  const repository = "timm/tf_efficientnet_lite0.in1k/main";
  hub.files.set(`${repository}/model.safetensors`, await readFile(weights));
  hub.files.set(
    `${repository}/config.json`,
    Buffer.from(JSON.stringify({ architecture: "tf_efficientnet_lite0", pretrained_cfg: { mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5] } })),
  );
  await reader.follow("docs/backbones.md", "npx serval backbones add weights", { env: { HF_ENDPOINT: hub.endpoint } });
  await hub.close();

  const names = { input: "pixel_values", output: "last_hidden_state", between: "maps" };
  await writeFile(at("dinov2.onnx"), foreignFile({ kind: "tokens", layout: "NCHW", side: 224, channels: 384, names }));
  const added = await reader.follow("docs/backbones.md", "npx serval backbones add dinov2");
  expect(shows(added, findBlock("docs/backbones.md", "Added dinov2"))).toBeUndefined();
  for (const path of ["models/backbones", "dinov2.onnx", "weights.safetensors"]) await rm(at(path), { recursive: true });
});

test("docs/api.md: the program imports, trains, evaluates and serves", async () => {
  const { answer } = JSON.parse(await runProgram("program.mjs", textOf("docs/api.md", "import { openAsBlob }"))) as { answer: object };
  expect(answer).toMatchObject({ label: "cat" });
});

test("docs/fine-tuning.md: a training begins with the user's own model by the lines that the page shows", async () => {
  const shown = parse(textOf("docs/fine-tuning.md", "train:\n  init")) as { train: { init: string; freezeEpochs: number } };
  const settings = parseDocument(await readFile(at("params.yaml"), "utf8"));
  for (const key of ["backbone", "strategy"]) settings.deleteIn(["train", key]);
  for (const key of ["prepare.width", "prepare.height", "train.cropSize"]) settings.setIn(key.split("."), 64);
  settings.setIn(["train", "epochs"], 2);
  const { init, freezeEpochs, ...network } = shown.train;
  for (const [key, value] of Object.entries(network)) settings.setIn(["train", key], value);
  await writeFile(at("params.yaml"), settings.toString());
  await reader.do(`rm -r ${init} && npx serval prepare && npx serval train && cp -r artifacts/best ${init}`);

  for (const [key, value] of Object.entries({ init, freezeEpochs })) settings.setIn(["train", key], value);
  await writeFile(at("params.yaml"), settings.toString());
  await reader.do("npx serval train");
  expect(JSON.parse(await readFile(at("artifacts/best/bundle.json"), "utf8"))).toMatchObject({
    init: expect.stringMatching(/^[0-9a-f]{64}$/) as string,
  });

  const pipeline = parseDocument(await readFile(at("dvc.yaml"), "utf8"));
  const { train_model: stage } = parse(textOf("docs/fine-tuning.md", "  train_model:")) as { train_model: { cmd: string; deps: string[] } };
  expect(pipeline.getIn(["stages", "train_model", "cmd"])).toBe(stage.cmd);
  pipeline.setIn(["stages", "train_model", "deps"], stage.deps);
  await writeFile(at("dvc.yaml"), pipeline.toString());
  expect(await reader.do("npx serval repro --dry")).toContain("train_model");
});
