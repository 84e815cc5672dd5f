import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, expect, test } from "vitest";
import { VERBS } from "../../../src/cli/main.ts";
import { githubSlug } from "../../../scripts/site/github-slug.ts";
import { readFacts } from "./source-facts.ts";

const root = join(import.meta.dirname, "../../..");
const pages = [
  "README.md",
  "CHANGELOG.md",
  "CONTRIBUTING.md",
  "SECURITY.md",
  ...readdirSync(join(root, "docs"), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".md"))
    .map((name) => `docs/${name.replaceAll("\\", "/")}`),
];

/** Targets of Markdown links and pictures, and of their HTML forms. */
function linksIn(text: string): string[] {
  const plain = text.replaceAll(/```[\s\S]*?```/g, "");
  return [...plain.matchAll(/\]\(([^)\s]+)\)|(?:src|href|srcset)="([^"]+)"/g)].map((match) => match[1] ?? match[2] ?? "");
}

/** Anchors of a page's headings as GitHub makes them, and those that it names itself. */
function anchorsOf(page: string): Set<string> {
  const text = readFileSync(join(root, page), "utf8").replaceAll(/```[\s\S]*?```/g, "");
  const headings = [...text.matchAll(/^#+ (.*)$/gm)].map(([, heading = ""]) => githubSlug(heading.replaceAll("`", "")));
  return new Set([...headings, ...[...text.matchAll(/<a id="([^"]+)"/g)].map(([, id = ""]) => id)]);
}

describe.each(pages)("%s", (page) => {
  const text = readFileSync(join(root, page), "utf8");

  test("links only to files that are there", () => {
    const gone = linksIn(text)
      .filter((link) => !/^(https?:|#)/.test(link))
      .filter((link) => !existsSync(join(root, dirname(page), link.split("#")[0] ?? "")));
    expect(gone).toEqual([]);
  });

  test("links only to headings that are there", () => {
    const gone = linksIn(text)
      .filter((link) => /^[^:]*#/.test(link))
      .filter((link) => {
        const [path = "", anchor = ""] = link.split("#");
        const target = path === "" ? page : join(dirname(page), path);
        return target.endsWith(".md") && !anchorsOf(target).has(anchor);
      });
    expect(gone).toEqual([]);
  });

  test("names only commands that are there", () => {
    expect(unknownVerbs(text)).toEqual([]);
  });
});

// What changed in the past may name what was there then.
describe.each(pages.filter((page) => page !== "CHANGELOG.md"))("%s", (page) => {
  const text = readFileSync(join(root, page), "utf8");

  test("names only sources, tests and scripts that are there", () => {
    const named = [...text.matchAll(/`((?:src|tests|scripts|bench|deployment|recipes)\/[\w./-]*\w)\/?`/g)].map((match) => match[1] ?? "");
    // Words in capitals are placeholders; deployment/.env is what an operator writes.
    const own = named.filter((path) => !/\/[A-Z]+\b|\/\.env$/.test(path));
    expect(own.filter((path) => !existsSync(join(root, path)))).toEqual([]);
  });
});

test("hints and messages in the sources name only commands that are there", () => {
  const sources = readdirSync(join(root, "src"), { recursive: true, encoding: "utf8" }).filter((name) => name.endsWith(".ts"));
  const strings = sources.flatMap((name) => readFacts(name, readFileSync(join(root, "src", name), "utf8")).strings);
  expect(strings.length).toBeGreaterThan(500);
  expect(unknownVerbs(strings.join("\n"))).toEqual([]);
});

/** Verbs in `serval VERB` of code spans and code blocks that the command line does not have. */
function unknownVerbs(text: string): string[] {
  const code = [...text.matchAll(/```[\s\S]*?```|`[^`\n]+`/g)].map((match) => match[0]).join("\n");
  const named = [...code.matchAll(/(?<![\w/-])serval (?:-- )?([a-z]+(?:-[a-z]+)*)\b/g)].map((match) => match[1] ?? "");
  return [...new Set(named)].filter((verb) => !(verb in VERBS)).sort();
}
