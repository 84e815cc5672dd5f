import { mkdirSync } from "node:fs";
import { readFile, rm } from "node:fs/promises";
import sharp from "sharp";
import { afterAll, beforeAll, expect, test } from "vitest";
import { trainModel } from "../../src/workflows/model/train-model.ts";
import { silentReporter } from "../../src/workflows/reporter.ts";
import { CaseFolder } from "../helpers/case-folder.ts";
import { mustRun } from "../helpers/pattern-project.ts";
import { jpeg } from "../helpers/pictures.ts";

let folder: CaseFolder;
beforeAll(async () => void (folder = await CaseFolder.make()));
afterAll(async () => await folder.remove());

const params = `data: {source: images}
prepare: {width: 32, height: 32}
train: {backbone: none, cropSize: 32, sizes: [32], epochs: 1, channels: [8, 8, 16, 16], batchSize: 8}
`;

async function makeClasses(labels: readonly string[], each: number): Promise<CaseFolder> {
  const made = await CaseFolder.at(folder.path(`${labels.length}`));
  await made.put("params.yaml", params);
  for (const label of labels) {
    for (let i = 0; i < each; i++) await made.put(`images/${label}/${i}.jpg`, await jpeg(`${label} ${i}`, 48, 40));
  }
  for (const args of [["data", "import"], ["prepare"], ["train"]]) await mustRun(made.dir, args);
  return made;
}

test("labels that every object has as a property, such as __proto__, are labels like others in training, tracking, reports and answers", async () => {
  const labels = ["__proto__", "constructor", "tostring", "hasownproperty", "valueof"];
  const made = await makeClasses(labels, 12);
  const { stdout, stderr } = await mustRun(made.dir, ["evaluate", "--json"]);
  expect(stderr).not.toContain("E_");
  const { metrics } = JSON.parse(stdout) as { metrics: { perClass: { label: string }[] } };
  expect(metrics.perClass.map(({ label }) => label)).toEqual(labels.toSorted());
  const predictions = (await readFile(made.path("artifacts/evaluation/predictions.jsonl"), "utf8")).trim().split("\n");
  for (const line of predictions) {
    expect(Object.keys((JSON.parse(line) as { probabilities: object }).probabilities)).toEqual(labels.toSorted());
  }
  for (const name of ["confusion-matrix", "roc", "reliability"]) {
    expect((await sharp(made.path(`artifacts/evaluation/${name}.png`)).metadata()).format).toBe("png");
  }
  const answers = JSON.parse((await mustRun(made.dir, ["predict", "--json", "images/__proto__"])).stdout) as { probabilities: object }[];
  expect(answers).toHaveLength(12);
  expect(Object.keys(answers[0]!.probabilities)).toEqual(labels.toSorted());
  // What the first training could not send, the second would say.
  expect((await mustRun(made.dir, ["train"])).stderr).not.toContain("Sent the kept run");
});

test("artifacts/final is written before any picture: the models exist even where a picture cannot be written", async () => {
  const made = await makeClasses(["checks", "disc", "rows"], 8);
  await rm(made.path("artifacts"), { recursive: true });
  const line = (text = ""): void => {
    const [, run] = /^Run (\S+):/.exec(text) ?? [];
    if (run !== undefined) mkdirSync(made.path(".serval/runs", run, "results.svg"));
  };
  await expect(trainModel({ cwd: made.dir, tracking: null, reporter: { ...silentReporter, line } })).rejects.toThrow("results.svg");
  for (const role of ["best", "final"]) {
    expect(JSON.parse(await readFile(made.path("artifacts", role, "bundle.json"), "utf8"))).toMatchObject({
      labels: ["checks", "disc", "rows"],
    });
  }
});

test("with 60 classes the report has blocks and the worst confusions, and the terminal gets the classes with the lowest F1 alone", async () => {
  const labels = Array.from({ length: 60 }, (_, i) => `class ${String(i).padStart(2, "0")}`);
  const made = await makeClasses(labels, 4);
  const { stdout } = await mustRun(made.dir, ["evaluate"]);
  expect(stdout).toContain("The 20 of 60 classes with the lowest F1; metrics.json has all:");
  expect(stdout.match(/^ {2}class \d\d +\d/gm)).toHaveLength(20);
  expect(stdout).toMatch(/^worst confusions:\n(?: {2}class \d\d mistaken for class \d\d: \d of \d\n){1,20}\n/m);
  const svg = await readFile(made.path("artifacts/evaluation/confusion-matrix.svg"), "utf8");
  expect(svg).toContain("20 blocks of 3 neighbouring classes");
  expect(svg).toContain("Worst confusions");
  expect(svg.length).toBeLessThan(500_000);
});
