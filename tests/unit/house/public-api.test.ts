import { cp, mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { execFile } from "node:child_process";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, onTestFinished, test } from "vitest";
import { writeTinyBundle } from "../../helpers/tiny-bundle.ts";

const run = promisify(execFile);

test("a program can import the package by its name, load a bundle and classify a picture", async () => {
  const dir = await mkdtemp(join(tmpdir(), "serval-api-"));
  onTestFinished(async () => await rm(dir, { recursive: true, force: true }));
  const bundle = await writeTinyBundle(join(dir, "bundle"));
  await cp(join(bundle.dir, "checks/red.jpg"), join(dir, "red.jpg"));
  const program = `
    import { readFile } from "node:fs/promises";
    import { loadBundle, preprocessImage, ServalError, startInference } from "serval";
    const bundle = await loadBundle(${JSON.stringify(bundle.dir)});
    const { preprocess, labels } = bundle.manifest;
    const { height, width } = preprocess.crop ?? preprocess;
    const pixels = await preprocessImage(await readFile(${JSON.stringify(join(dir, "red.jpg"))}), preprocess, { maxBytes: 1e7, maxPixels: 1e7 });
    const inference = await startInference(bundle.model, { imageShape: [height, width] });
    const { probabilities } = await inference.run(pixels, 1);
    await inference.close();
    const refused = await loadBundle("nowhere").catch((error) => error);
    console.log(JSON.stringify({ label: labels[probabilities.indexOf(Math.max(...probabilities))], known: refused instanceof ServalError, code: refused.code }));
  `;
  // What `npm install PATH/TO/serval` leaves: a link.
  await mkdir(join(dir, "node_modules"));
  await symlink(join(import.meta.dirname, "../../.."), join(dir, "node_modules/serval"), "dir");
  await writeFile(join(dir, "program.mjs"), program);
  const { stdout } = await run(process.execPath, [join(dir, "program.mjs")]);
  expect(JSON.parse(stdout)).toEqual({ label: "red", known: true, code: "E_BUNDLE_MISSING" });
});
