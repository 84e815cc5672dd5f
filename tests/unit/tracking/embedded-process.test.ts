import { execFile } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, onTestFinished, test } from "vitest";

const source = join(import.meta.dirname, "../../../src/workflows/tracking-connection.ts");

/** Far more than the program takes, and less than the time for which the server keeps a connection that is idle. */
const timeout = 30_000;

test("a program that asked the embedded server ends by itself, with nothing closed", async () => {
  const dir = await mkdtemp(join(tmpdir(), "serval-embedded-"));
  onTestFinished(async () => await rm(dir, { recursive: true, force: true }));
  const program = `
    import { connectTracking } from ${JSON.stringify(source)};
    const { registry } = await connectTracking(${JSON.stringify(dir)}, null, "state");
    console.log(JSON.stringify(await registry.listRegisteredModels()));
  `;
  const { stdout } = await promisify(execFile)(process.execPath, ["--input-type=module", "--eval", program], { timeout });
  expect(JSON.parse(stdout)).toEqual([]);
});
