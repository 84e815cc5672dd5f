import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Random } from "../fuzz/random.ts";
import type { FuzzTarget } from "../fuzz/target.ts";
import { fuzzTargets } from "../fuzz/targets.ts";

const finds = join(import.meta.dirname, "../fixtures/fuzz");

describe.each(Object.entries(fuzzTargets))("the fuzz target %s", (name, open) => {
  let target: FuzzTarget;
  beforeAll(async () => {
    target = await open();
  });
  afterAll(async () => await target.close?.());

  test("accepts or refuses its good inputs and some changed ones", async () => {
    const random = new Random(7);
    const changed = Array.from({ length: 20 }, () => target.mutate(random.pick(target.seeds), random, target.seeds));
    for (const input of [...target.seeds, ...changed]) await target.run(input);
    expect(target.seeds.length).toBeGreaterThan(2);
  });

  test("accepts or refuses the inputs of bugs that were found and fixed", async () => {
    const dir = join(finds, name);
    const names = existsSync(dir) ? readdirSync(dir) : [];
    const failures: string[] = [];
    for (const file of names) {
      const startedAt = process.cpuUsage();
      await target.run(readFileSync(join(dir, file))).catch((error: unknown) => failures.push(`${file}: ${String(error)}`));
      const { user } = process.cpuUsage(startedAt);
      if (user > 2e6) failures.push(`${file}: takes ${user / 1e6} s`);
    }
    expect(failures).toEqual([]);
  });
});
