import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { renderDocs } from "../../../scripts/write-docs.ts";
import { VERBS } from "../../../src/cli/main.ts";
import { exitCodes } from "../../../src/cli/exit-codes.ts";
import { ERRORS, type ErrorCode } from "../../../src/errors/error-table.ts";
import { ServalError, toServalError } from "../../../src/errors/serval-error.ts";
import { errorStatus } from "../../../src/serve/http/error-status.ts";
import { readFacts } from "./source-facts.ts";

const root = join(import.meta.dirname, "../../..");
const codes = Object.keys(ERRORS) as ErrorCode[];

/** Error codes in the string literals of src/, without the table itself. */
function codesInSources(): Set<string> {
  const names = readdirSync(join(root, "src"), { recursive: true, encoding: "utf8" }).filter((name) => name.endsWith(".ts"));
  const found = new Set<string>();
  for (const name of names) {
    const text = readFileSync(join(root, "src", name), "utf8");
    // In serval-error.ts a code counts where toServalError uses it: the table's keys are not strings.
    for (const string of readFacts(name, text).strings) for (const [code] of string.matchAll(/\bE(_[A-Z0-9]+)+(?!\w)/g)) found.add(code);
  }
  return found;
}

describe("the generated pages", async () => {
  const pages = await renderDocs();

  test.each([
    "docs/errors.md",
    "docs/cli.md",
    "docs/configuration.md",
    "docs/openapi.json",
    "params.yaml",
    "dvc.yaml",
    ".dvcignore",
    ".dvc/config",
    ".dvc/.gitignore",
  ])("%s is what `npm run docs` writes", (path) => {
    expect(readFileSync(join(root, path), "utf8")).toBe(pages[path]);
  });

  test("errors.md has one row for each code, and cli.md one heading for each verb", () => {
    const rows = [...(pages["docs/errors.md"] ?? "").matchAll(/^\| <a id="(E_\w+)">/gm)].map((match) => match[1]);
    expect(rows).toEqual(codes);
    const headings = [...(pages["docs/cli.md"] ?? "").matchAll(/^## serval (\S+)$/gm)].map((match) => match[1]);
    expect(headings).toEqual(Object.keys(VERBS));
  });
});

describe("the error table", () => {
  test("holds exactly the codes that the sources use", () => {
    expect([...codesInSources()].sort()).toEqual([...codes].sort());
  });

  test.each(codes)("%s says what it means and what to do, and has a status and an exit code", (code) => {
    const { title, hint } = ERRORS[code];
    expect(code).toMatch(/^E(_[A-Z0-9]+)+$/);
    expect(title).toMatch(/^[A-Z].*\.$/);
    expect(hint).toMatch(/\.$/);
    expect(errorStatus[code]).toBeGreaterThanOrEqual(400);
    expect(errorStatus[code]).toBeLessThan(600);
    expect([1, 2, 3, 130]).toContain(exitCodes[code]);
  });

  test("is one table: no domain repeats a code, and HTTP and the terminal know the same codes as the domains", async () => {
    const dir = join(root, "src/errors/tables");
    const modules = await Promise.all(readdirSync(dir).map(async (name) => (await import(join(dir, name))) as Record<string, object>));
    const ofDomains = modules.flatMap((module) => Object.values(module).flatMap((table) => Object.keys(table)));
    expect(ofDomains.sort()).toEqual([...codes].sort());
    expect(Object.keys(errorStatus)).toEqual(codes);
    expect(Object.keys(exitCodes)).toEqual(codes);
  });

  test("gives an error its row's hint, unless the thrower knows a better one", () => {
    expect(new ServalError("E_IMAGE_FORMAT", "a.txt: got text").hint).toBe("Use JPEG, PNG, WebP or GIF.");
    expect(new ServalError("E_IMAGE_FORMAT", "a.txt: got text", { hint: "Use a picture." }).hint).toBe("Use a picture.");
  });

  test("maps what the system throws to codes, and keeps the cause", () => {
    const full = Object.assign(new Error("no space left on device"), { code: "ENOSPC" });
    expect(toServalError(full)).toMatchObject({ code: "E_DISK_FULL", cause: full });
    expect(toServalError(Object.assign(new Error("missing"), { code: "ENOENT" })).code).toBe("E_FILE_NOT_FOUND");
    expect(toServalError("oops")).toMatchObject({ code: "E_INTERNAL", message: "oops" });
    const known = new ServalError("E_USAGE", "what?");
    expect(toServalError(known)).toBe(known);
  });
});
