import { once } from "node:events";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Writable } from "node:stream";
import { afterEach, beforeEach, expect, test } from "vitest";
import { RotatingFile } from "../../../src/serve/log/rotating-file.ts";

let dir: string;
let path: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "serval-rotating-"));
  path = join(dir, "service.log");
});
afterEach(async () => await rm(dir, { recursive: true, force: true }));

const line = (i: number): string => `${String(i).padStart(8, "0")}\n`;

async function end(file: Writable): Promise<void> {
  file.end();
  await once(file, "close");
}

/** The lines of each file, the oldest first. */
async function kept(): Promise<number[][]> {
  const [now = "", ...aside] = (await readdir(dir)).sort();
  expect(now).toBe("service.log");
  for (const name of aside) expect(name).toMatch(/^service\.log\.\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d\.\d{3}Z-[0-9a-f]{6}$/);
  const read = async (name: string): Promise<number[]> => (await readFile(join(dir, name), "utf8")).trim().split("\n").map(Number);
  return await Promise.all([...aside, now].map(read));
}

test("rotates a full file, keeps the given number of old ones, and never splits a line", async () => {
  await writeFile(path, line(0) + line(1));
  const file = new RotatingFile(path, { maxBytes: 3 * 9 + 4, keep: 2 });
  for (let i = 2; i < 11; i++) file.write(line(i));
  await end(file);
  expect(await kept()).toEqual([
    [3, 4, 5],
    [6, 7, 8],
    [9, 10],
  ]);
});

test("a line longer than the limit has its own file", async () => {
  const file = new RotatingFile(path, { maxBytes: 5, keep: 5 });
  for (let i = 0; i < 3; i++) file.write(line(i));
  await end(file);
  expect(await kept()).toEqual([[0], [1], [2]]);
});

test("two that write to one path lose nothing, and the second follows to the new file", async () => {
  const limits = { maxBytes: 20 * 9, keep: 50 };
  const files = [new RotatingFile(path, limits), new RotatingFile(path, limits)] as const;
  for (let i = 0; i < 400; i++) {
    const file = files[i % 2] as Writable;
    if (!file.write(line(i))) await once(file, "drain");
    // So that each comes to find what the other one put aside.
    if (i % 5 === 0) await new Promise((resolve) => file.write("", resolve));
  }
  await Promise.all(files.map(end));
  const all = (await kept()).flat();
  expect(all.sort((a, b) => a - b)).toEqual(Array.from({ length: 400 }, (_, i) => i));
  expect((await readdir(dir)).length).toBeGreaterThan(5);
});

test("says why it cannot continue: the folder for the next file is gone", async () => {
  const file = new RotatingFile(path, { maxBytes: 9, keep: 1 });
  await new Promise((resolve) => file.write(line(1), resolve));
  await rm(dir, { recursive: true });
  file.write(line(2));
  const [error] = (await once(file, "error")) as [NodeJS.ErrnoException];
  expect(error.code).toBe("ENOENT");
});
