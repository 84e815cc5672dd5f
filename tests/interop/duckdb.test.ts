import { execFile } from "node:child_process";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, onTestFinished, test } from "vitest";
import { runCli } from "../../src/cli/main.ts";
import { recordedContext } from "../helpers/recorded-output.ts";
import { colourPicture, writeTinyBundle } from "../helpers/tiny-bundle.ts";
import { python } from "./python.ts";

const run = promisify(execFile);

/** Rows of a query, in `dir`. */
async function query(dir: string, sql: string): Promise<unknown[][]> {
  const program = "import duckdb, json, sys; print(json.dumps(duckdb.sql(sys.argv[1]).fetchall()))";
  const { stdout } = await run(python, ["-c", program, sql], { cwd: dir });
  return JSON.parse(stdout) as unknown[][];
}

test("DuckDB reads the Parquet and CSV files of all shards of a scoring job, with types, each row once", async () => {
  const cwd = await mkdtemp(join(tmpdir(), "serval-duckdb-"));
  onTestFinished(async () => await rm(cwd, { recursive: true }));
  await writeTinyBundle(join(cwd, "models/colours"));
  await mkdir(join(cwd, "photos"));
  for (let i = 0; i < 9; i++)
    await writeFile(join(cwd, `photos/${i}, "odd".jpg`), i === 4 ? "" : await colourPicture(i % 2 ? "red" : "blue", i));
  for (const format of ["parquet", "csv"]) {
    for (const shard of ["1/2", "2/2"]) {
      expect(await runCli(["score", "photos", "--shard", shard, "--out", `part-${shard[0]}.${format}`], recordedContext(cwd))).toBe(0);
    }
    const from = `FROM 'part-*.${format}'`;
    expect(
      await query(cwd, `SELECT coalesce(label, error), count(*), count(DISTINCT path), min(width) > 0 ${from} GROUP BY 1 ORDER BY 1`),
    ).toEqual([
      ["E_IMAGE_EMPTY", 1, 1, null],
      ["blue", 4, 4, true],
      ["red", 4, 4, true],
    ]);
    expect(await query(cwd, `SELECT count(*) ${from} WHERE abs(CAST(probabilities->>label AS DOUBLE) - confidence) < 1e-9`)).toEqual([[8]]);
    expect(await query(cwd, `SELECT path ${from} WHERE error IS NOT NULL`)).toEqual([['photos/4, "odd".jpg']]);
  }
});
