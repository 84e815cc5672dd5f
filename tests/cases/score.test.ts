import { cp, mkdir, mkdtemp, readFile, rm, stat, symlink, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parquetReadObjects } from "hyparquet";
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test } from "vitest";
import { runCli } from "../../src/cli/main.ts";
import type { Bundle } from "../../src/model/bundle.ts";
import { pngClaiming } from "../helpers/pictures.ts";
import { recordedContext } from "../helpers/recorded-output.ts";
import { colourPicture, directAnswer, writeTinyBundle } from "../helpers/tiny-bundle.ts";
import { zipFile } from "../helpers/zip-file.ts";

type Row = Readonly<Record<string, unknown>>;

let model: string;
let bundle: Bundle;
let red: Buffer;
let blue: Buffer;
let cwd: string;
beforeAll(async () => {
  model = await mkdtemp(join(tmpdir(), "serval-score-model-"));
  bundle = await writeTinyBundle(model, { manifest: { abstainBelow: 0.5 } });
  [red, blue] = await Promise.all([colourPicture("red", 1), colourPicture("blue", 2)]);
});
afterAll(async () => await rm(model, { recursive: true }));
beforeEach(async () => {
  cwd = await mkdtemp(join(tmpdir(), "serval-score-"));
  const made = cwd;
  onTestFinished(async () => await rm(made, { recursive: true }));
});

async function score(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  const context = recordedContext(cwd);
  const code = await runCli(["score", ...args, "--model", model], context);
  return { code, out: context.stdout.text, err: context.stderr.text };
}

async function put(files: Readonly<Record<string, Uint8Array | string>>): Promise<void> {
  for (const [name, bytes] of Object.entries(files)) {
    await mkdir(join(cwd, name, ".."), { recursive: true });
    await writeFile(join(cwd, name), bytes);
  }
}

async function rowsOf(name = "scores.jsonl"): Promise<Row[]> {
  return (await readFile(join(cwd, name), "utf8"))
    .split("\n")
    .filter(Boolean)
    .map((line) => JSON.parse(line) as Row);
}

/** Path and label, or path and error. */
async function answers(name?: string): Promise<unknown[][]> {
  return (await rowsOf(name)).map(({ path, label, error }) => [path, label ?? error]);
}

describe("a folder", () => {
  test("has a row for each picture below it, by name, with what the model says of it", async () => {
    await put({
      "photos/b.jpg": red,
      "photos/a.jpg": blue,
      "photos/a/x.jpg": red,
      "photos/.hidden.jpg": red,
      "photos/notes.txt": "no picture",
    });
    const { code, out } = await score("photos", "--out", "out/scores.jsonl", "--json");
    expect(code).toBe(0);
    expect(await answers("out/scores.jsonl")).toEqual([
      ["photos/a/x.jpg", "red"],
      ["photos/a.jpg", "blue"],
      ["photos/b.jpg", "red"],
    ]);
    const expected = await directAnswer(bundle.model, bundle.manifest.preprocess, blue);
    const row = (await rowsOf("out/scores.jsonl"))[1] as { probabilities: Record<string, number> };
    expect(row.probabilities["blue"]).toBeCloseTo(expected[0]!, 6);
    expect(row).toMatchObject({ reason: null, width: 70, height: 66, error: null, message: null, model_name: "colours" });
    expect(JSON.parse(out)).toMatchObject({
      rows: 3,
      answered: 3,
      abstained: 0,
      rowsBefore: 0,
      errors: [],
      labels: [
        { label: "red", count: 2 },
        { label: "blue", count: 1 },
      ],
    });
  });

  test("with a loop of links ends, and says of each link that was not followed why", async () => {
    await put({ "photos/in/a.jpg": red });
    await symlink("..", join(cwd, "photos/in/loop"));
    await symlink("nowhere", join(cwd, "photos/in/broken.jpg"));
    expect(await score("photos", "--out", "scores.jsonl")).toMatchObject({ code: 0 });
    expect(await answers()).toEqual([
      ["photos/in/a.jpg", "red"],
      ["photos/in/broken.jpg", "E_PATH_LINK"],
      ["photos/in/loop", "E_PATH_LINK"],
    ]);
  });

  test("has a row with its error for each file that cannot be used, and the summary counts them", async () => {
    await put({
      "photos/a.jpg": red,
      "photos/cut.jpg": blue.subarray(0, blue.length >> 1),
      "photos/empty.jpg": "",
      "photos/page.png": "<html>",
      "photos/wide.png": pngClaiming(30_000, 30_000),
    });
    const { code, out } = await score("photos", "--out", "scores.jsonl");
    expect(code).toBe(0);
    expect(await answers()).toEqual([
      ["photos/a.jpg", "red"],
      ["photos/cut.jpg", "E_IMAGE_CORRUPT"],
      ["photos/empty.jpg", "E_IMAGE_EMPTY"],
      ["photos/page.png", "E_IMAGE_FORMAT"],
      ["photos/wide.png", "E_IMAGE_PIXELS"],
    ]);
    expect((await rowsOf())[3]).toMatchObject({
      label: null,
      confidence: null,
      probabilities: null,
      message: expect.stringContaining("HTML") as string,
    });
    expect(out).toMatch(
      /^scores\.jsonl: 5 rows by colours [0-9a-f]+\.\n\nlabel +pictures +share +mean confidence\nred +1 +100\.0 % +9\d\.\d %\n/,
    );
    expect(out).toContain("Abstained: 0 of 1 answers: 0 with a confidence under 50.0 %.\nErrors: 4 of 5 rows (E_IMAGE_");
  });

  test("without a picture is refused, and one of which no picture can be used ends with an error", async () => {
    await put({ "empty/notes.txt": "", "bad/a.jpg": "no picture" });
    expect(await score("empty", "--out", "a.csv")).toMatchObject({
      code: 3,
      err: expect.stringContaining('E_SOURCE_EMPTY: "empty" has no pictures.') as string,
    });
    expect(await score("bad", "--out", "b.csv")).toMatchObject({
      code: 3,
      err: expect.stringContaining("E_FILES_REFUSED: None of the 1 pictures") as string,
    });
    expect(await readFile(join(cwd, "b.csv"), "utf8")).toMatch(/\r\nbad\/a\.jpg,,,,,,,,E_IMAGE_FORMAT,/);
  });
});

test("a pattern, a zip and a list of paths give a row for each picture", async () => {
  await put({
    "photos/a.jpg": red,
    "photos/b.png": await colourPicture("blue", 3, "png"),
    "list.txt": "\ufeffphotos/b.png\r\n\r\nphotos/a.jpg\r\nphotos/gone.jpg",
    "set.zip": zipFile([
      { name: "b/2.jpg", bytes: blue, deflate: true },
      { name: "b/" },
      { name: "__MACOSX/b/2.jpg", bytes: red },
      { name: "a/1.jpg", bytes: red },
      { name: "a/3.jpg", bytes: red, claimsCrc: 7 },
      { name: "readme.txt", bytes: red },
    ]),
  });
  expect(await score("photos/*.{jpg,png}", "--out", "pattern.jsonl")).toMatchObject({ code: 0 });
  expect(await answers("pattern.jsonl")).toEqual([
    ["photos/a.jpg", "red"],
    ["photos/b.png", "blue"],
  ]);
  expect(await score("list.txt", "--out", "list.jsonl")).toMatchObject({ code: 0 });
  expect(await answers("list.jsonl")).toEqual([
    ["photos/b.png", "blue"],
    ["photos/a.jpg", "red"],
    ["photos/gone.jpg", "E_FILE_NOT_FOUND"],
  ]);
  expect(await score("set.zip", "--out", "zip.jsonl")).toMatchObject({ code: 0 });
  expect(await answers("zip.jsonl")).toEqual([
    ["b/2.jpg", "blue"],
    ["a/1.jpg", "red"],
    ["a/3.jpg", "E_ARCHIVE_CORRUPT"],
  ]);
});

test("a zip that is cut off, a source of another kind and one that is not there are refused before a row is written", async () => {
  await put({ "cut.zip": zipFile([{ name: "a.jpg", bytes: red }]).subarray(0, 99), "a.jpg": red });
  for (const [source, code] of [
    ["cut.zip", "E_ARCHIVE_CORRUPT"],
    ["a.jpg", "E_SOURCE"],
    ["nowhere", "E_FILE_NOT_FOUND"],
    ["s3:///prefix", "E_SOURCE"],
  ] as const) {
    expect((await score(source, "--out", "a.csv")).err).toContain(`${code}: `);
  }
  expect((await score("a.jpg", "--out", "a.xlsx")).err).toContain(
    'E_USAGE: --out: expected a file that ends in .jsonl, .csv or .parquet, got "a.xlsx".',
  );
  await expect(stat(join(cwd, "a.csv"))).rejects.toMatchObject({ code: "ENOENT" });
});

describe("a CSV file", () => {
  test.each([
    ["a byte order mark, CRLF and quotes", '\ufeffid,path\r\n1,"odd, ""name"".jpg"\r\n2,a.jpg\r\n'],
    ["semicolons and a last line without an end", 'path;note\n"odd, ""name"".jpg";"two\nlines"\n a.jpg ;'],
    ["tabs", 'id\tFile\n1\todd, "name".jpg\n2\ta.jpg\n'],
  ])("with %s is read", async (_, text) => {
    await put({ 'odd, "name".jpg': blue, "a.jpg": red, "list.csv": text });
    expect(await score("list.csv", "--out", "scores.jsonl")).toMatchObject({ code: 0 });
    expect(await answers()).toEqual([
      ['odd, "name".jpg', "blue"],
      ["a.jpg", "red"],
    ]);
  });

  test("in the Unicode of spreadsheets is read, by the column that --column names", async () => {
    await put({ "ä.jpg": red, "list.csv": Buffer.from("\ufeffpath\tpicture\r\nx\tä.jpg\r\ny\t\r\n", "utf16le") });
    expect(await score("list.csv", "--column", "picture", "--out", "scores.jsonl")).toMatchObject({ code: 0 });
    expect(await answers()).toEqual([
      ["ä.jpg", "red"],
      ["", "E_FILE_NOT_FOUND"],
    ]);
  });

  test("without such a column, or with a quote that does not end, is refused", async () => {
    await put({ "list.csv": "id,picture\n1,a.jpg\n", "open.csv": 'path\na.jpg\n"b.jpg\nc.jpg\n', "list.txt": "a.jpg" });
    expect((await score("list.csv", "--out", "a.csv")).err).toContain(
      'E_USAGE: "list.csv": expected a column called one of path, file, filename, file_name, image, url, uri, got id, picture.',
    );
    expect((await score("list.csv", "--column", "uri", "--out", "a.csv")).err).toContain(
      'expected a column called "uri", got id, picture.',
    );
    expect((await score("open.csv", "--out", "a.csv")).err).toContain('E_SOURCE: "open.csv", line 3: a quote that does not end.');
    expect((await score("list.txt", "--column", "path", "--out", "a.csv")).err).toContain("E_USAGE: --column is for a CSV file");
  });

  test("of addresses is read from hosts on the public internet only, unless --allow-private says otherwise", async () => {
    let troubles = 0;
    const server = createServer(({ url }, response) => {
      if (url === "/red.jpg") response.end(red);
      else if (url === "/busy.jpg" && troubles++ === 0) response.writeHead(503).end();
      else if (url === "/busy.jpg") response.end(blue);
      else if (url === "/to-metadata") response.writeHead(302, { location: "http://169.254.169.254/latest" }).end();
      else response.writeHead(404).end();
    }).listen(0, "127.0.0.1");
    await new Promise((resolve) => server.once("listening", resolve));
    onTestFinished(() => void server.close());
    const at = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    await put({
      "a.jpg": blue,
      "list.csv": ["url", `${at}/red.jpg`, `${at}/busy.jpg`, `${at}/gone.jpg`, `${at}/to-metadata`, "http://", "a.jpg", ""].join("\n"),
    });
    await score("list.csv", "--out", "public.jsonl");
    expect((await rowsOf("public.jsonl"))[0]).toMatchObject({
      error: "E_DOWNLOAD",
      message: `${at}/red.jpg: 127.0.0.1 has no address on the public internet.`,
    });
    expect((await answers("public.jsonl")).at(-1)).toEqual(["a.jpg", "blue"]);
    await score("list.csv", "--out", "private.jsonl", "--allow-private");
    expect((await answers("private.jsonl")).map(([, answer]) => answer)).toEqual([
      "red",
      "blue",
      "E_DOWNLOAD",
      "E_DOWNLOAD",
      "E_DOWNLOAD",
      "blue",
    ]);
    expect((await rowsOf("private.jsonl"))[3]).toMatchObject({
      message: expect.stringContaining("a redirect to http://169.254.169.254/latest, which is not followed") as string,
    });
  });
});

describe("the output", () => {
  test("as CSV and Parquet has the rows of JSON Lines", async () => {
    await put({ "photos/a.jpg": red, 'photos/b "x", y.jpg': blue, "photos/c.jpg": "" });
    for (const format of ["jsonl", "csv", "parquet"]) expect(await score("photos", "--out", `scores.${format}`)).toMatchObject({ code: 0 });
    const rows = await rowsOf();
    const bytes = await readFile(join(cwd, "scores.parquet"));
    expect(await parquetReadObjects({ file: bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length) })).toEqual(rows);
    const [head, first, second, third, end] = (await readFile(join(cwd, "scores.csv"), "utf8")).split("\r\n");
    expect(head).toBe("path,label,confidence,probabilities,reason,outlier_score,width,height,error,message,model_name,model_version");
    expect(first).toMatch(/^photos\/a\.jpg,red,0\.9\d+,"\{""blue"":0\.\d+,""red"":0\.9\d+\}",,,65,57,,,colours,[0-9a-f]+$/);
    expect(second).toMatch(/^"photos\/b ""x"", y\.jpg",blue,/);
    expect([third, end]).toEqual([expect.stringMatching(/^photos\/c\.jpg,,,,,,,,E_IMAGE_EMPTY,The image has 0 bytes\.,/), ""]);
  });

  test("says where the model abstains, with the label that it holds most probable", async () => {
    const unsure = join(cwd, "unsure");
    await writeTinyBundle(unsure, { manifest: { abstainBelow: 0.99999 } });
    await put({ "photos/a.jpg": red });
    const context = recordedContext(cwd);
    expect(await runCli(["score", "photos", "--out", "scores.jsonl", "--model", unsure, "--json"], context)).toBe(0);
    expect((await rowsOf())[0]).toMatchObject({ label: "red", reason: "low_confidence" });
    expect(JSON.parse(context.stdout.text)).toMatchObject({ answered: 1, abstained: 1, abstainBelow: 0.99999 });
  });

  test("is left as it is where the same job runs again, and is not overwritten by another job", async () => {
    await put({ "photos/a.jpg": red, "photos/b.jpg": blue });
    await score("photos", "--out", "scores.csv");
    const before = await stat(join(cwd, "scores.csv"));
    const again = await score("photos", "--out", "scores.csv", "--json");
    expect(JSON.parse(again.out)).toMatchObject({ rows: 2, rowsBefore: 2, answered: 2 });
    expect((await stat(join(cwd, "scores.csv"))).mtimeMs).toBe(before.mtimeMs);

    const other = join(cwd, "other");
    await writeTinyBundle(other, { sharpness: 3 });
    const context = recordedContext(cwd);
    expect(await runCli(["score", "photos", "--out", "scores.csv", "--model", other], context)).toBe(2);
    expect(context.stderr.text).toMatch(
      /E_SCORE_OTHER: .*scores\.csv is of a job with another model: expected colours \w+, got colours \w+\./,
    );
    expect((await score("photos/*.jpg", "--out", "scores.csv")).err).toContain("another source: expected photos/*.jpg, got photos.");
    expect((await score("photos", "--shard", "1/2", "--out", "scores.csv")).err).toContain("another shard: expected 1/2, got 1/1.");
    await put({ "mine.csv": "by hand" });
    expect((await score("photos", "--out", "mine.csv")).err).toContain("E_SCORE_OTHER: ");
    expect(await readFile(join(cwd, "mine.csv"), "utf8")).toBe("by hand");
  });

  test("of shards together has each row once, in files that concatenate", async () => {
    await put(Object.fromEntries(Array.from({ length: 10 }, (_, i) => [`photos/${i}.jpg`, i % 2 ? red : blue])));
    for (const shard of ["1/4", "2/4", "3/4", "4/4"]) await score("photos", "--shard", shard, "--out", `part-${shard[0]}.jsonl`);
    expect((await answers("part-3.jsonl")).map(([path]) => path)).toEqual(["photos/2.jpg", "photos/6.jpg"]);
    const all = (await Promise.all([1, 2, 3, 4].map(async (i) => await answers(`part-${i}.jsonl`)))).flat();
    expect(all.map(([path]) => String(path)).sort()).toEqual(Array.from({ length: 10 }, (_, i) => `photos/${i}.jpg`));
    expect(await score("photos", "--shard", "12/16", "--out", "none.parquet")).toMatchObject({ code: 0 });
    for (const wrong of ["0/4", "5/4", "3", "a/b"]) {
      expect((await score("photos", "--shard", wrong, "--out", "x.csv")).err).toContain("E_USAGE: --shard: expected a value such as 3/16");
    }
  });
});

test("serval predict of a folder says that there is a verb for many pictures", async () => {
  await put({ "photos/a.jpg": red });
  await cp(model, join(cwd, "models/colours"), { recursive: true });
  const context = recordedContext(cwd);
  expect(await runCli(["predict", "photos"], context)).toBe(0);
  expect(context.stderr.text).toContain("`serval score photos --out scores.csv`");
});
