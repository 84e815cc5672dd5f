import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { openShards } from "../../../src/data/shards.ts";
import { splitNames } from "../../../src/data/split.ts";
import { makeColourRepository } from "../../helpers/colour-repository.ts";
import { runServal } from "../../helpers/serval-process.ts";

test("two commands that prepare one folder take turns, and the second finds the work done", async () => {
  const repository = await makeColourRepository({ counts: { red: 60, blue: 60 } });
  const { cwd } = repository;
  onTestFinished(async () => await repository.remove());
  const prepare = async (): ReturnType<typeof runServal> =>
    await runServal(cwd, ["prepare", "--set", "prepare.width=256", "prepare.height=256"]);
  const ended = await Promise.all([prepare(), prepare()]);
  expect(ended.map(({ code, stderr }) => [code, stderr.includes("Error")])).toEqual([
    [0, false],
    [0, false],
  ]);
  const [first, second] = ended.map(({ stdout }) => stdout).sort();
  expect(first).toMatch(/^Nothing to do: data\/processed is up to date/);
  expect(second).toMatch(/^Prepared /);
  const shards = await openShards(join(cwd, "data", "processed"), { verify: splitNames });
  expect(shards.width).toBe(256);
  shards.close();
});
