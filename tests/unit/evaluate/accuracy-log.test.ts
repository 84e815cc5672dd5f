import { execFile } from "node:child_process";
import { mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { findLook, formatLook, recordLook, type Look } from "../../../src/evaluate/accuracy-log.ts";

const look: Look = {
  date: "2026-03-01",
  modelName: "animals",
  digest: "abcdef0123456789".repeat(4),
  dataVersion: "9876543210fedcba".repeat(4),
  split: "test",
  count: 2502,
  accuracy: 0.92654,
  accuracyInterval: [0.9156, 0.936],
  loss: 0.19234,
  command: "serval evaluate --model artifacts/best",
};
const line =
  "| 2026-03-01 | animals `abcdef012345` | `9876543210fe` | test | 2,502 | 92.65 % (91.56 to 93.60) | 0.1923 | `serval evaluate --model artifacts/best` |";

describe("the log of looks at the test split", () => {
  let cwd: string;
  beforeEach(async () => {
    cwd = await mkdtemp(join(tmpdir(), "serval-looks-"));
    await mkdir(join(cwd, "docs"));
  });
  afterEach(() => rm(cwd, { recursive: true }));
  const text = (): Promise<string> => readFile(join(cwd, "docs", "accuracy.md"), "utf8");

  it("begins with why it is there and has one table row for each look", async () => {
    expect(await recordLook(cwd, look)).toEqual({ path: "docs/accuracy.md", line, added: true });
    expect(await text()).toMatch(/^# Looks at the test split\n/);
    expect((await text()).endsWith(`|---|---|---|---|---:|---|---:|---|\n${line}\n`)).toBe(true);
    expect(await readdir(join(cwd, "docs"))).toEqual(["accuracy.md"]);
  });

  it("writes nothing through a link: the row goes to the state folder", async () => {
    await writeFile(join(cwd, "diary"), "mine\n");
    await symlink("../diary", join(cwd, "docs/accuracy.md"));
    expect(await recordLook(cwd, look)).toEqual({ path: ".serval/accuracy.md", line, added: true });
    expect(await readFile(join(cwd, "diary"), "utf8")).toBe("mine\n");
  });

  it("gives the earlier row for the same model and data, whatever the new figures say", async () => {
    await recordLook(cwd, look);
    const again = await recordLook(cwd, { ...look, date: "2027-01-01", accuracy: 1, command: "serval up" });
    expect(again).toEqual({ path: "docs/accuracy.md", line, added: false });
    expect((await text()).split("\n").filter((row) => row.startsWith("| 20")).length).toBe(1);
  });

  it("adds a row for another model, and for the same model on other data", async () => {
    await recordLook(cwd, look);
    expect((await recordLook(cwd, { ...look, digest: "1".repeat(64) })).added).toBe(true);
    expect((await recordLook(cwd, { ...look, dataVersion: "2".repeat(64) })).added).toBe(true);
    expect((await text()).split("\n").filter((row) => row.startsWith("| 20")).length).toBe(3);
  });

  it("remembers what it wrote with the local state before there was a docs folder", async () => {
    await rm(join(cwd, "docs"), { recursive: true });
    expect((await recordLook(cwd, look, ".state")).path).toBe(".state/accuracy.md");
    await mkdir(join(cwd, "docs"));
    expect(await recordLook(cwd, look, ".state")).toMatchObject({ path: ".state/accuracy.md", added: false });
    expect(await readdir(join(cwd, "docs"))).toEqual([]);
  });

  it("keeps what a person wrote around the rows, also without a line end", async () => {
    await writeFile(join(cwd, "docs", "accuracy.md"), "# Ours\n\nno line end");
    await recordLook(cwd, look);
    expect(await text()).toBe(`# Ours\n\nno line end\n${line}\n`);
  });

  it("survives names that would break a table", async () => {
    const odd = { ...look, modelName: "a|b", command: "serval evaluate --model 'x|y'\n--out z" };
    await recordLook(cwd, odd);
    expect((await text()).trimEnd().split("\n").at(-1)).toContain("a\\|b `abcdef012345`");
    expect(findLook(await text(), odd)).toBe(formatLook(odd));
    expect((await recordLook(cwd, odd)).added).toBe(false);
  });

  it("loses no row when several processes write at once, the first ones included", async () => {
    const script = `
      const { recordLook } = await import(${JSON.stringify(new URL("../../../src/evaluate/accuracy-log.ts", import.meta.url).href)});
      const look = ${JSON.stringify(look)};
      const writer = process.argv[1];
      await Promise.all(Array.from({ length: 10 }, (_, i) =>
        recordLook(process.cwd(), { ...look, digest: (writer + i).repeat(32) })));
    `;
    const run = promisify(execFile);
    const writers = ["a", "b", "c"];
    await Promise.all(writers.map((writer) => run(process.execPath, ["--input-type=module", "-e", script, writer], { cwd })));
    const rows = (await text())
      .split("\n")
      .filter((row) => row.startsWith("|"))
      .slice(2);
    const digests = rows.map((row) => /`(\w+)`/.exec(row)?.[1] as string);
    expect(new Set(digests)).toEqual(new Set(writers.flatMap((writer) => Array.from({ length: 10 }, (_, i) => `${writer}${i}`.repeat(6)))));
    expect(rows.length).toBe(30);
    expect((await text()).match(/# Looks/g)?.length).toBe(1);
    expect(await readdir(join(cwd, "docs"))).toEqual(["accuracy.md"]);
  });
});
