import { join } from "node:path";
import { readdir, writeFile } from "node:fs/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { makeColourRepository, type ColourRepository } from "../helpers/colour-repository.ts";
import { runServal, startServal } from "../helpers/serval-process.ts";

let data: ColourRepository;
beforeAll(async () => {
  data = await makeColourRepository({ counts: { red: 30, blue: 30 }, prepare: { shares: { train: 0.6, val: 0.2, test: 0.2 } } });
  const train = "{backbone: none, channels: [16, 16, 16, 16], cropSize: 16, epochs: 1, batchSize: 8, threads: 1}";
  await writeFile(join(data.cwd, "params.yaml"), `prepare: {width: 20, height: 16}\ntrain: ${train}\n`);
});
afterAll(async () => await data.remove());

test("a second training in a folder, and --resume of the run that trains, are refused with its process; one that was killed is not in the way", async ({
  onTestFinished,
}) => {
  const training = startServal(data.cwd, ["train", "--set", "train.epochs=2000"]);
  onTestFinished(async () => void (await training.stop("SIGKILL")));
  await training.waitFor(/epoch 1\/2000/);
  const [run] = await readdir(join(data.cwd, ".serval/runs"));
  for (const args of [["train"], ["train", "--resume", "--set", "train.epochs=2000"]]) {
    const { code, stderr } = await runServal(data.cwd, args);
    expect([code, stderr]).toEqual([
      2,
      expect.stringContaining(
        `E_TRAINING_RUNS: Process ${training.child.pid} already trains in ${data.cwd}, run ${run}.\n` +
          `  Wait until it is done, or stop it with \`kill ${training.child.pid}\` and continue later with \`serval train --resume\`.\n`,
      ),
    ]);
  }
  expect(await readdir(join(data.cwd, ".serval/runs"))).toEqual([run]);

  await training.stop("SIGKILL");
  expect((await runServal(data.cwd, ["train"])).code).toBe(0);
  expect(await readdir(join(data.cwd, ".serval/runs"))).toHaveLength(2);
});
