import { expect, test } from "vitest";
import { readTrackedOuts, type TrackedOut } from "../../../../src/pipeline/dvc-files/tracked-outs.ts";

const md5 = "0123456789abcdef0123456789abcdef";
const pipeline = "stages:\n  train:\n    wdir: place\n    cmd: train\n    outs:\n    - model:\n        cache: false\n";

function read(lock: string, options = {}): TrackedOut[] {
  const files: Readonly<Record<string, string>> = { "sub/dvc.lock": lock, "sub/dvc.yaml": pipeline };
  return readTrackedOuts("sub/dvc.lock", (path) => files[path], options);
}
const lock = (out: string, head = "schema: '2.0'\n"): string => `${head}stages:\n  train:\n    cmd: train\n    outs:\n    - ${out}\n`;

test("an out of a lock lies in the working folder of its stage, and has the options of dvc.yaml", () => {
  expect(read(lock(`{path: model, hash: md5, md5: ${md5}, size: 3, isexec: true}`))).toEqual([
    { path: "sub/place/model", md5, size: 3, isexec: true, cached: false, pushed: true, source: "sub/dvc.yaml:train" },
  ]);
});

test("what pull, push, checkout and gc refuse in a lock is what repro refuses", () => {
  const fine = `{path: model, hash: md5, md5: ${md5}}`;
  expect(() => read(lock(fine, "schema: '3.0'\n"))).toThrow(
    "sub/dvc.lock: expected schema '2.0', got \"3.0\": another version of DVC wrote it.",
  );
  expect(() => read(lock(fine, "schema: '2.0'\nlinks: []\n"))).toThrow(
    'sub/dvc.lock:2: unknown field "links": a newer DVC may have written it.',
  );
  expect(() => read("schema: '2.0'\nstages:\n  train:\n    cmd: train\n    images: []\n")).toThrow(
    'sub/dvc.lock:3: train: unknown field "images": a newer DVC may have written it.',
  );
  expect(() => read("schema: '2.0'\nstages: 3\n")).toThrow("sub/dvc.lock:2: stages: expected a mapping.");
});

test("an out that DVC 2 wrote is read, or left out on request; a lock of DVC 1 is refused", () => {
  const old = lock(`{path: model, md5: ${md5}}`);
  expect(read(old)).toMatchObject([{ md5 }]);
  expect(read(old, { skipLegacy: true })).toEqual([]);
  const first = `train:\n  cmd: train\n  outs:\n  - path: model\n    md5: ${md5}\n`;
  expect(() => read(first)).toThrow("sub/dvc.lock: expected schema '2.0', got undefined: another version of DVC wrote it.");
  expect(read(first, { skipLegacy: true })).toEqual([]);
});

test("an out of cloud versioning says why it is refused", () => {
  expect(() => read(lock("{path: model, files: []}"))).toThrow(
    'sub/dvc.lock: train.outs[0]: expected `path` and `md5`, got {"path":"model","files":[]} (cloud versioning is not supported).',
  );
});
