import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { documents, wrapMarkdown } from "../../../scripts/wrap-markdown.ts";

const root = join(import.meta.dirname, "../../..");

describe("a document is wrapped", () => {
  test("at the width, paragraph by paragraph; one that fits stays as it is", () => {
    expect(wrapMarkdown("one two three four\nfive\n\nsix\nseven\n", 12)).toBe("one two\nthree four\nfive\n\nsix\nseven\n");
  });

  test("with the text of a list item below its first word", () => {
    expect(wrapMarkdown("- one two three\n- four\n", 9)).toBe("- one two\n  three\n- four\n");
    expect(wrapMarkdown("1. one two three\n   four\n", 10)).toBe("1. one two\n   three\n   four\n");
  });

  test("and code spans stay whole, and no line begins with what would be a list or a heading", () => {
    expect(wrapMarkdown("ab `c d e f`, g\n", 8)).toBe("ab\n`c d e f`,\ng\n");
    expect(wrapMarkdown("a dash is here - and there\n", 15)).toBe("a dash is\nhere - and\nthere\n");
    expect(wrapMarkdown("it has the number 7. And more\n", 18)).toBe("it has the\nnumber 7. And more\n");
  });

  test("but tables, blocks, headings and HTML stay as they are", () => {
    const text =
      "| a long row | of a table |\n\n```sh\na long command\n```\n\n# A long heading\n\n<img src='a long address'>\n\n    Y = long\n";
    expect(wrapMarkdown(text, 8)).toBe(text);
  });
});

test("lines of documents end at column 120: `npm run docs` wraps them", () => {
  expect(documents()).toEqual(expect.arrayContaining(["README.md", "docs/service.md", "docs/notes/words.md"]));
  const wrapped = (path: string): boolean => {
    const text = readFileSync(join(root, path), "utf8");
    return wrapMarkdown(text) === text;
  };
  expect(documents().filter((path) => !wrapped(path))).toEqual([]);
});
