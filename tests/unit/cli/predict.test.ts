import { spawn } from "node:child_process";
import { once } from "node:events";
import { copyFile, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { text } from "node:stream/consumers";
import { afterAll, beforeAll, expect, test } from "vitest";
import { runCli } from "../../../src/cli/main.ts";
import { recordedContext } from "../../helpers/recorded-output.ts";
import { runServal, startServal } from "../../helpers/serval-process.ts";
import { colourPicture, directAnswer, writeTinyBundle } from "../../helpers/tiny-bundle.ts";
import type { Bundle } from "../../../src/model/bundle.ts";

const main = join(import.meta.dirname, "../../../src/cli/main.ts");

let cwd: string;
let bundle: Bundle;
beforeAll(async () => {
  cwd = await mkdtemp(join(tmpdir(), "serval-predict-"));
  bundle = await writeTinyBundle(join(cwd, "models", "colours"));
  await writeFile(join(cwd, "red.jpg"), await colourPicture("red", 1));
  await writeFile(join(cwd, "a longer name.png"), await colourPicture("blue", 2, "png"));
  await writeFile(join(cwd, "notes.txt"), "no image");
  await writeFile(join(cwd, "empty.jpg"), "");
  await mkdir(join(cwd, "folder.jpg"));
});
afterAll(async () => await rm(cwd, { recursive: true }));

async function predict(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  const context = recordedContext(cwd);
  const code = await runCli(["predict", ...args], context);
  return { code, stdout: context.stdout.text, stderr: context.stderr.text };
}

test("prints file, label and a bar of the confidence for each image, in the order given", async () => {
  const { code, stdout } = await predict("red.jpg", "a longer name.png");
  expect(code).toBe(0);
  expect(stdout.split("\n")).toEqual([
    expect.stringMatching(/^red\.jpg {10} {2}red {3}█{19}░ {2}\d\d\.\d %$|^red\.jpg {10} {2}red {3}█{20} {2}\d\d\.\d %$/),
    expect.stringMatching(/^a longer name\.png {2}blue {2}█{19}[█░] {2}9\d\.\d %$/),
    "",
  ]);
});

test("prints all of a long answer into a pipe, and continues without a reader", async () => {
  const many = Array.from({ length: 500 }, () => "red.jpg");
  const { code, stdout } = await runServal(cwd, ["predict", "--json", ...many]);
  expect(code).toBe(0);
  expect(stdout.length).toBeGreaterThan(65_536);
  expect(JSON.parse(stdout)).toHaveLength(500);

  const unread = startServal(cwd, ["predict", "--json", ...many]);
  unread.child.stdout?.destroy();
  expect(await unread.ended).toMatchObject({ code: 0, stderr: "" });
});

test("answers with --json what the model itself says, within 1e-6", async () => {
  const { code, stdout } = await predict("red.jpg", "--json");
  const expected = await directAnswer(bundle.model, bundle.manifest.preprocess, await colourPicture("red", 1));
  const [answer] = JSON.parse(stdout) as { file: string; label: string; confidence: number; probabilities: Record<string, number> }[];
  expect(code).toBe(0);
  expect([answer!.file, answer!.label]).toEqual(["red.jpg", "red"]);
  expect(answer!.probabilities["blue"]).toBeCloseTo(expected[0]!, 6);
  expect(answer!.confidence).toBeCloseTo(expected[1]!, 6);
});

test("gives a file that cannot be used its error line and exit code 3, and answers the others", async () => {
  const { code, stdout, stderr } = await predict("notes.txt", "empty.jpg", "red.jpg", "missing.jpg", "folder.jpg");
  expect(code).toBe(3);
  const lines = stdout.split("\n").map((line) => line.split(/ {2,}/).slice(0, 2).join(" | ").replace(/: .*/, ""));
  expect(lines).toEqual([
    "notes.txt | E_IMAGE_FORMAT",
    "empty.jpg | E_IMAGE_EMPTY",
    "red.jpg | red",
    "missing.jpg | E_FILE_NOT_FOUND",
    "folder.jpg | E_FILE_NOT_FOUND",
    "",
  ]);
  expect(stderr).toContain("E_FILES_REFUSED: 4 of 5 files could not be used.");
});

test("keeps stdout one JSON document when files fail", async () => {
  const { code, stdout } = await predict("notes.txt", "red.jpg", "--json");
  const [refused, answered] = JSON.parse(stdout) as [{ error: { code: string; hint: string } }, { label: string }];
  expect([code, refused.error.code, answered.label]).toEqual([3, "E_IMAGE_FORMAT", "red"]);
  expect(refused.error.hint).toBe("Use JPEG, PNG, WebP or GIF.");
});

test("predicts with another model when one is named, and says when there is none", async () => {
  await writeTinyBundle(join(cwd, "other"), { labels: ["green", "red"], sharpness: 1 });
  const { stdout } = await predict("red.jpg", "--model", "other", "--json");
  expect((JSON.parse(stdout) as { confidence: number }[])[0]!.confidence).toBeLessThan(0.8);
  const none = await predict("red.jpg", "--model", "nowhere");
  expect(none.code).toBe(2);
  expect(none.stderr).toContain('E_BUNDLE_MISSING: "nowhere" is neither a model bundle');
});

async function piped(args: readonly string[], input: string): Promise<{ code: number | null; stdout: string; stderr: string }> {
  const child = spawn(process.execPath, [main, "predict", ...args], { cwd, stdio: "pipe" });
  child.stdin.end(input);
  const [stdout, stderr, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, "close")]);
  return { code: code as number | null, stdout, stderr };
}

test("takes a folder, with the pictures below it by name and nothing else, and a pattern that the shell left", async () => {
  await mkdir(join(cwd, "photos/below"), { recursive: true });
  for (const [i, name] of ["b.jpg", "a.JPG", "below/c.png", ".hidden.jpg"].entries()) {
    await writeFile(join(cwd, "photos", name), await colourPicture(i === 1 ? "blue" : "red", i, name.endsWith("png") ? "png" : undefined));
  }
  await writeFile(join(cwd, "photos/labels.txt"), "a, b");
  const answered = async (...names: string[]): Promise<(readonly [string, string])[]> => {
    const { code, stdout } = await predict("--jsonl", ...names);
    expect(code).toBe(0);
    const answers = stdout
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line) as { file: string; label: string });
    return answers.map(({ file, label }) => [file, label] as const);
  };
  const all = [
    ["photos/a.JPG", "blue"],
    ["photos/b.jpg", "red"],
    ["photos/below/c.png", "red"],
  ];
  expect(await answered("photos")).toEqual(all);
  expect(await answered("photos/**/*")).toEqual(all);
  expect(await answered("photos/*.{jpg,png}", "red.jpg")).toEqual([
    ["photos/b.jpg", "red"],
    ["red.jpg", "red"],
  ]);
  expect(await answered("./photos/below/")).toEqual([["photos/below/c.png", "red"]]);

  const { code, stdout } = await predict("nowhere/*.jpg", "folder.jpg");
  expect(code).toBe(3);
  expect(stdout).toContain("E_FILE_NOT_FOUND: No picture is named like nowhere/*.jpg.\n");
  expect(stdout).toContain("E_FILE_NOT_FOUND: folder.jpg is a folder without a picture.\n");
});

test("prints a line of CSV for each picture, quoted where the name needs it", async () => {
  await writeFile(join(cwd, 'red, "dark".jpg'), await colourPicture("red", 3));
  const { code, stdout } = await predict("--csv", 'red, "dark".jpg', "notes.txt");
  expect(code).toBe(3);
  expect(stdout.split("\n")).toEqual([
    "file,label,confidence,error",
    expect.stringMatching(/^"red, ""dark""\.jpg",red,0\.9\d+,$/),
    expect.stringMatching(/^notes\.txt,,,"?E_IMAGE_FORMAT: /),
    "",
  ]);
});

test("reads a list of names from standard input, and refuses an empty one", async () => {
  expect(await piped(["-", "--csv"], "red.jpg\r\na longer name.png")).toMatchObject({
    code: 0,
    stdout: expect.stringMatching(/^file,label,confidence,error\nred\.jpg,red,0\.\d+,\na longer name\.png,blue,0\.\d+,\n$/) as string,
  });
  expect((await piped(["-"], "red.jpg\0a longer name.png\0")).stdout.match(/^.*?\.(jpg|png)/gm)).toEqual(["red.jpg", "a longer name.png"]);
  expect(await piped(["-"], "\n\n")).toMatchObject({
    code: 2,
    stderr: expect.stringMatching(/^E_FILE_NOT_FOUND: Standard input has no file names\./) as string,
  });
});

test("answers each name of a list before the next one comes", async () => {
  const child = spawn(process.execPath, [main, "predict", "-", "--jsonl"], { cwd, stdio: ["pipe", "pipe", "inherit"] });
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]();
  for (const name of ["red.jpg", "a longer name.png", "red.jpg"]) {
    child.stdin.write(`${name}\n`);
    expect(JSON.parse((await lines.next()).value as string)).toMatchObject({ file: name });
  }
  child.stdin.end();
  expect(await once(child, "close")).toEqual([0, null]);
});

test("450 paths of 33 characters on the command line, and 5,000, get an answer each", async () => {
  await mkdir(join(cwd, "many"));
  for (const count of [450, 5000]) {
    const names = Array.from({ length: count }, (_, i) => `many/${String(i).padStart(24, "0")}.jpg`);
    if (count === 450) for (const name of names) await copyFile(join(cwd, "red.jpg"), join(cwd, name));
    // The engine reads the command line where its usage data is on; the shell of this test must not be what switches it off.
    const { code, stdout } = await runServal(cwd, ["predict", "--csv", ...names], { ORT_DISABLE_TELEMETRY: undefined });
    expect(stdout.match(/,red,0\./g)).toHaveLength(450);
    expect([code, stdout.split("\n").length]).toEqual([count === 450 ? 0 : 3, count + 2]);
  }
});
