import { expect, test } from "vitest";
import { createMarks, longestModel } from "../../../src/deploy/compose/release-marks.ts";

const marks = createMarks("deployment");

test.each([
  ["someone/cats-dogs-classifier:3f2a91c", "serval-deploy/deployment/current/someone/cats-dogs-classifier:3f2a91c"],
  ["cats-dogs-classifier", "serval-deploy/deployment/current/cats-dogs-classifier:latest"],
  ["127.0.0.1:5037/a/b:c0ffee", "serval-deploy/deployment/current/127.0.0.1__5037/a/b:c0ffee"],
  ["registry.example.com:5000/b", "serval-deploy/deployment/current/registry.example.com__5000/b:latest"],
  [`a/b@sha256:${"0f".repeat(32)}`, `serval-deploy/deployment/current/a/b:sha256.${"0f".repeat(32)}`],
])("the name %s is noted as a tag that an engine takes, and read back", (name, tag) => {
  expect(marks.note("current", name)).toBe(tag);
  expect(tag).toMatch(/^[a-z0-9]+(?:(?:\.|__?|-+|\/)[a-z0-9]+)*:\w[\w.-]{0,127}$/);
  const full = name.includes("@") || /:[^/]+$/.test(name) ? name : `${name}:latest`;
  expect(marks.read("current", ["other:latest", tag])).toBe(full);
});

test("a model is noted whatever characters it has, none as well, and the longest fits into a tag", () => {
  for (const model of ["", "models:/cats dogs@champion", "/models/größe", "m".repeat(longestModel)]) {
    for (const kind of ["current-model", "previous-model"] as const) {
      const tag = marks.note(kind, model);
      expect(tag).toMatch(new RegExp(`^serval-deploy/deployment/${kind}:\\w[\\w.-]{0,127}$`));
      expect(marks.read(kind, ["a/b:1", tag])).toBe(model);
    }
  }
});

test("notes of another project, and the two tags that say which image is which, are none", () => {
  const tags = [marks.current, marks.previous, createMarks("other").note("current", "a/b:1"), "a/b:1"];
  expect(marks.notesIn(tags)).toEqual([]);
  expect(marks.read("current", tags)).toBeUndefined();
});
