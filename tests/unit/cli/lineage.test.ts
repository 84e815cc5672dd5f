import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { runCli } from "../../../src/cli/main.ts";
import { recordedContext } from "../../helpers/recorded-output.ts";
import { writeTinyBundle } from "../../helpers/tiny-bundle.ts";

let cwd: string;
beforeEach(async () => {
  cwd = await mkdtemp(join(tmpdir(), "serval-lineage-"));
});
afterEach(() => rm(cwd, { recursive: true, force: true }));

interface Link {
  readonly link: string;
  readonly state: string;
  readonly text: string;
}

async function initLinks(model: string): Promise<Link[]> {
  const context = recordedContext(cwd);
  expect(await runCli(["lineage", model, "--json"], context), context.stderr.text).toBe(0);
  const { links } = JSON.parse(context.stdout.text) as { links: Link[] };
  return links.filter(({ link }) => link === "init");
}

test("`lineage` leads from a fine-tuned model to the released one that it began with, while that is still the same", async () => {
  const base = await writeTinyBundle(join(cwd, "models", "base"), { name: "base" });
  await writeTinyBundle(join(cwd, "artifacts", "best"), { manifest: { init: base.digest } });
  const text = `began with the weights of the bundle ${base.digest}`;
  expect(await initLinks("artifacts/best")).toEqual([{ link: "init", state: "proved", text: `${text}: models/base` }]);
  expect(await initLinks("base")).toEqual([]);
  await writeTinyBundle(join(cwd, "models", "base"), { name: "base", sharpness: 3 });
  expect(await initLinks("artifacts/best")).toEqual([
    { link: "init", state: "unproved", text: `${text}, which is not one of the models in models/` },
  ]);
});

test("`lineage` takes the address of a registered model as well", async () => {
  const { digest } = await writeTinyBundle(join(cwd, "artifacts", "best"), { name: "colours" });
  const context = recordedContext(cwd);
  expect(await runCli(["models", "register", "artifacts/best"], context), context.stderr.text).toBe(0);
  const asked = recordedContext(cwd);
  expect(await runCli(["lineage", "models:/colours/1", "--json"], asked), asked.stderr.text).toBe(0);
  expect(JSON.parse(asked.stdout.text)).toMatchObject({ digest });
});
