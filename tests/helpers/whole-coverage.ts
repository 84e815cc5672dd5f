import { readdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { afterAll } from "vitest";

/** How long a process that is ending may take to write its coverage. */
const writtenWithinMs = 2000;

// A process that a test kills may leave half a file of coverage, and the coverage provider fails on it: after the tests of a file.
afterAll(async () => {
  const folder = process.env["NODE_V8_COVERAGE"];
  if (folder === undefined || folder === "") return;
  const names = await readdir(folder).catch((): string[] => []);
  await Promise.all(names.map(async (name) => await removeUnlessWhole(join(folder, name))));
});

async function removeUnlessWhole(path: string): Promise<void> {
  for (let waited = 0; waited <= writtenWithinMs; waited += 200) {
    try {
      JSON.parse(await readFile(path, "utf8"));
      return;
    } catch {
      await delay(200);
    }
  }
  await rm(path, { force: true });
}
