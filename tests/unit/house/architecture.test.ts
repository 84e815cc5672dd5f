import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { layers } from "./rules.ts";

test("docs/architecture.md shows the layer table that the tests hold", () => {
  const text = readFileSync(join(import.meta.dirname, "../../../docs/architecture.md"), "utf8");
  const table = text.slice(text.indexOf("| folder | what is in it"));
  const rows = [...table.matchAll(/^\| `([a-z]+)` \| .* \| (.*)\|$/gm)].map(([, folder = "", allowed = ""]) => [
    folder,
    [...allowed.matchAll(/`([^`]+)`/g)].map((match) => match[1]),
  ]);
  expect(Object.fromEntries(rows)).toEqual(layers);
});
