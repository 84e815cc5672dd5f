import { execFile } from "node:child_process";
import { chmod, cp, mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterEach, beforeEach, expect, test } from "vitest";

const root = join(import.meta.dirname, "../..");
let clone: string;
beforeEach(async () => {
  clone = await mkdtemp(join(tmpdir(), "serval-clone-"));
  for (const path of ["scripts/smoke_test.sh", "package.json", "src"]) await cp(join(root, path), join(clone, path), { recursive: true });
});
afterEach(() => rm(clone, { recursive: true, force: true }));

async function smoke(...args: readonly string[]): Promise<{ code: number; stderr: string }> {
  return await promisify(execFile)(join(clone, "scripts/smoke_test.sh"), args).then(
    ({ stderr }) => ({ code: 0, stderr }),
    ({ code, stderr }: { code: number; stderr: string }) => ({ code, stderr }),
  );
}

/** Puts a program called `node` first, as an older one of the machine would be. */
async function putNode(version: string): Promise<void> {
  const bin = join(clone, "node_modules/.bin");
  await mkdir(bin, { recursive: true });
  await writeFile(join(bin, "node"), `#!/bin/sh\necho ${version}\n`);
  await chmod(join(bin, "node"), 0o755);
}

test("smoke_test.sh before npm ci says in one line to run npm ci", async () => {
  const { code, stderr } = await smoke("http://127.0.0.1:9");
  expect([code, stderr.trim().split("\n")]).toEqual([1, [expect.stringMatching(/nothing is installed in .*Run `npm ci` there first/)]]);
});

test.each(["20.19.2", "24.9.0", "0"])("smoke_test.sh with Node %s says which Node it needs", async (version) => {
  await putNode(version);
  const { code, stderr } = await smoke("http://127.0.0.1:9");
  expect([code, stderr.trim().split("\n")]).toEqual([
    1,
    [expect.stringContaining(`got Node ${version}, expected 24.12 or newer. Run \`npm ci\``)],
  ]);
});

test("smoke_test.sh after npm ci asks the service, and ends with its verdict", async () => {
  await symlink(join(root, "node_modules"), join(clone, "node_modules"), "dir");
  const { code, stderr } = await smoke("http://127.0.0.1:9", "--image", join(root, "test_image.jpg"));
  expect(code).toBe(1);
  expect(stderr).toContain("E_SMOKE");
});
