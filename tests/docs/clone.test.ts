import { expect, inject, test } from "vitest";
import { Reader } from "./reader.ts";

test("README.md: in a clone, `npm start` serves the released model, and curl asks it", async () => {
  const reader = await Reader.in(inject("clone"));
  await reader.follow("README.md", "npm ci && npm start", {
    put: { "npm ci && npm start": "npm start", "npm ci && npm test": ": .ci/run does" },
  });
  expect(await reader.follow("README.md", "curl -F", { before: "npm start" })).toContain('"label":"cat"');
});

test("README.md: in a clone, `npm run docs` finds every generated file up to date", async () => {
  const reader = await Reader.in(inject("clone"));
  const before = await reader.do("git diff");
  // .ci/run runs the suites and the check.
  const elsewhere = ["npm test ", "npm run test:cases", "npm run test:docs", "npm run test:hostile", "npm run check"];
  await reader.follow("README.md", "npm test ", { put: Object.fromEntries(elsewhere.map((command) => [command, ": "])) });
  expect(await reader.do("git diff")).toBe(before);
});
