import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { layers } from "./rules.ts";

const root = join(import.meta.dirname, "../../..");
const text = readFileSync(join(root, "docs/architecture.md"), "utf8");

test("docs/architecture.md shows the layer table that the tests hold", () => {
  const table = text.slice(text.indexOf("| folder | what is in it | may import |"));
  const rows = [...table.matchAll(/^\| `([a-z]+)` \| .* \| (.*)\|$/gm)].map(([, folder = "", allowed = ""]) => [
    folder,
    [...allowed.matchAll(/`([^`]+)`/g)].map((match) => match[1]),
  ]);
  expect(Object.fromEntries(rows)).toEqual(layers);
});

test("docs/architecture.md says of every folder inside a room what is in it", () => {
  const section = text.slice(text.indexOf("### Inside the rooms"), text.indexOf("The other rules of that test"));
  const described = [...section.matchAll(/^\| `([a-z/-]+)` \| .{10,} \|$/gm)].map((match) => match[1]);
  const sources = readdirSync(join(root, "src"), { recursive: true, encoding: "utf8" }).filter((name) => name.endsWith(".ts"));
  const folders = new Set<string>();
  for (const name of sources) {
    const parts = name.replaceAll("\\", "/").split("/").slice(0, -1);
    for (let depth = 2; depth <= parts.length; depth++) folders.add(parts.slice(0, depth).join("/"));
  }
  expect(described).toEqual([...folders].sort());
});
