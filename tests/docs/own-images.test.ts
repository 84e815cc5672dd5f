import { afterAll, beforeAll, expect, test } from "vitest";
import { findBlock } from "./blocks.ts";
import { Reader, shows } from "./reader.ts";
import { makeUserFolder } from "./user-folder.ts";

// A folder of images that becomes a project by one command. Each test follows a page in the folder as the tests before left it.

let folder: Awaited<ReturnType<typeof makeUserFolder>>;
let reader: Reader;
beforeAll(async () => {
  folder = await makeUserFolder("own");
  reader = await Reader.in(folder.dir);
});
afterAll(async () => await folder.remove());

test("README.md, docs/fine-tuning.md: `serval up --data images` prints what the pages show", async () => {
  const output = await reader.follow("README.md", "npx serval up --data images");
  expect(shows(output, findBlock("README.md", "[2/5] Import"))).toBeUndefined();
  expect(shows(output, findBlock("docs/fine-tuning.md", "[1/5] Settings"))).toBeUndefined();
  expect(shows(output, findBlock("docs/data.md", "Imported "))).toBeUndefined();
  // One command and one kind of folder: it runs once.
  expect(findBlock("docs/fine-tuning.md", "npx serval up --data images").lines).toHaveLength(1);
});

test("docs/data.md, docs/accuracy.md: the data is imported, checked and prepared, and the model evaluated, each by its command", async () => {
  expect(await reader.follow("docs/data.md", "npx serval data import images")).toMatch(
    /^Nothing to do: data\/processed is up to date \(60 images\)/m,
  );
  const output = await reader.follow("docs/accuracy.md", "npx serval evaluate");
  expect(shows(output, findBlock("docs/accuracy.md", "own "))).toBeUndefined();
});

test("docs/tracking.md: the tracking server", async () => {
  expect(await reader.follow("docs/tracking.md", "npx serval track")).toMatch(/^Tracking at http/m);
});

test("docs/registry.md: a first champion, a second one, and back", async () => {
  await reader.follow("docs/registry.md", "npx serval train", { put: { "cats-dogs": "own" } });
  await reader.do("npx serval train --set train.seed=2 && npx serval models register");
  const promotion = await reader.do("npx serval models promote");
  expect(shows(promotion, findBlock("docs/registry.md", "On the validation split, which decides:"))).toBeUndefined();
  await reader.follow("docs/registry.md", "npx serval models rollback", { put: { "cats-dogs": "own" } });
});

test("docs/fine-tuning.md: all layers of the backbone learn, and so do those of a model that was fine-tuned", async () => {
  // Small pictures, once: what is shown is that the commands do what the page says.
  const small = "--set prepare.width=64 prepare.height=64 train.cropSize=64";
  await reader.do(`npx serval prepare ${small}`);
  const put = { "train.strategy=finetune": `train.strategy=finetune train.epochs=1 train.sizes=[32] ${small}` };
  const output = await reader.follow("docs/fine-tuning.md", "npx serval train --set train.strategy=finetune", { put });
  expect(output).toContain("Fine-tuning all layers of efficientnet-lite0.");
  await reader.follow("docs/fine-tuning.md", "npx serval backbones add artifacts/best --name own-backbone", { put });
});

test("docs/data-quality.md: suspects are found, decided about, and corrected by the next import", async () => {
  await reader.do("npx serval prepare");
  expect(await reader.follow("docs/data-quality.md", "npx serval data check --labels")).toContain("Labels that are probably wrong");
  expect(await reader.follow("docs/data-quality.md", "npx serval data check --pictures")).toContain("Dark, bright, flat or blurred");
  expect(await reader.follow("docs/data-quality.md", "npx serval data correct cat/1.jpg")).toContain(
    "Corrections: 2 relabelled, 1 left out.",
  );
  await reader.follow("docs/data-quality.md", "npx serval data correct --from");
  expect(await reader.follow("docs/data-quality.md", "npx serval data correct --class")).toContain("hound");
});
