import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";

const root = join(import.meta.dirname, "../../..");
const generated = new Set([
  "node_modules",
  ".git",
  ".dvc",
  ".serval",
  ".venv",
  "data",
  "artifacts",
  "models",
  "coverage",
  "dist",
  "package-lock.json",
]);
const binary = /\.(jpe?g|png|webp|gif|onnx|bin|safetensors)$/;

function ownFiles(): string[] {
  return readdirSync(root)
    .filter((name) => !generated.has(name))
    .flatMap((name) => {
      const below = readdirSync(root, { withFileTypes: true })
        .find((entry) => entry.name === name)
        ?.isDirectory()
        ? readdirSync(join(root, name), { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile())
        : undefined;
      return below?.map((entry) => join(entry.parentPath, entry.name)) ?? [join(root, name)];
    })
    .filter((path) => !binary.test(path) && !path.includes("__pycache__"));
}

test("no file depends on the machine it was written on: only .ci/run knows what lies beside the repository", () => {
  const files = ownFiles();
  expect(files.length).toBeGreaterThan(100);
  // /home/node is where the image has it.
  const outside = /\.\.\/shared\/|\/work\/|(^|["'\s=])\/root\/|\/home\/(?!node\/)\w/;
  const found = files.flatMap((path) => {
    const name = path.slice(root.length + 1).replaceAll("\\", "/");
    if (name === ".ci/run" || name.endsWith("house/places.test.ts")) return [];
    const lines = readFileSync(path, "utf8").split("\n");
    return lines.flatMap((line, i) => (outside.test(line) ? [`${name}:${i + 1}: ${line.trim()}`] : []));
  });
  expect(found).toEqual([]);
});
