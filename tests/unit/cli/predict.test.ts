import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { runCli } from "../../../src/cli/main.ts";
import { recordedContext } from "../../helpers/recorded-output.ts";
import { runServal, startServal } from "../../helpers/serval-process.ts";
import { colourPicture, directAnswer, writeTinyBundle } from "../../helpers/tiny-bundle.ts";
import type { Bundle } from "../../../src/model/bundle.ts";

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

test("prints all of a long answer into a pipe, and goes on without a reader", async () => {
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
