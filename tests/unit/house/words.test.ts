import { readFileSync, readdirSync } from "node:fs";
import { join, relative } from "node:path";
import { describe, expect, test } from "vitest";

const root = join(import.meta.dirname, "../../..");

interface Rule {
  readonly pattern: string;
  readonly instead: string;
  /** Sentences that the pattern finds, and sentences that it must leave alone. */
  readonly bad: readonly string[];
  readonly good?: readonly string[];
}

/**
 * Phrases that a reader has to decode, and what to write instead. A space in a pattern is any space, also the end of a line in a
 * comment. docs/notes/words.md has how often each was there.
 */
const rules: readonly Rule[] = [
  {
    pattern: String.raw`(?<!\b[Tt]here )\b(?:is|are|was|were) no (?!longer|more|less|fewer|better|worse|larger|higher|lower|smaller|other|one\b)[a-z]`,
    instead: "is not a",
    bad: ["a file that is no picture", "these\n * are no classes"],
    good: ["there is no picture", "it is no longer there", "it is no more than 3"],
  },
  {
    pattern: String.raw`\b(?:is|are) none of (?!them\b|these\b|those\b)`,
    instead: "is not one of",
    bad: ["x is none of the labels"],
    good: ["none of the labels is x"],
  },
  { pattern: String.raw`\bwho(?:so)?ever\b`, instead: "every client that, the process that", bad: ["whoever asks"] },
  {
    pattern: String.raw`(?:[.;:] |// |\* )who (?:hangs|gets|asks|sends|reads|posts|calls|comes|waits)\b`,
    instead: "a client that",
    bad: ["The queue is cut: who gets in is answered soon"],
    good: ["a user who asks"],
  },
  {
    pattern: String.raw`\bnobody\b`,
    instead: "no client, no one; or turn the sentence round",
    bad: ["Nobody asked"],
    good: ["user: nobody", "nobodyKnows"],
  },
  { pattern: String.raw`\b(?<!-)anew\b`, instead: "again", bad: ["starts anew"], good: ["renewed"] },
  { pattern: String.raw`\bfor ever\b`, instead: "forever, always", bad: ["kept for ever"], good: ["for every"] },
  { pattern: String.raw`\brightly\b`, instead: "correctly", bad: ["answered rightly"], good: ["brightly"] },
  {
    pattern: String.raw`\b(?:goes|went|going) on\b(?! (?:to|over)\b)`,
    instead: "continues",
    bad: ["training goes on", "Going on after step 3."],
  },
  {
    pattern: String.raw`\b(?:cannot|can|could|to|would|may|not|they|and) go on\b`,
    instead: "continue",
    bad: ["it cannot go on"],
    good: ["labels go on the left"],
  },
  {
    pattern: String.raw`\bserves? on\b(?! (?:port|the|a|all|loopback|localhost|\d))`,
    instead: "still serves",
    bad: ["the old one serves on:"],
    good: ["serves on port 80"],
  },
  {
    pattern: String.raw`\b(?:stands?|stood) (?:in|on|at|as|there|here|nowhere|wherever|below|above|beside|behind|before|first|inside)\b|\bstood\b|\bstands? (?:its|their)\b`,
    instead: "is",
    bad: ["the hash stands in the file", "it stood there"],
    good: ["stands for a name", "a name that stands alone"],
  },
  {
    pattern: String.raw`\bof (?:its|their|his|her|our|one's) own\b(?! (?!(?:for|in|with|that|which|and|or|to|by|on|at|from|until|where|so|as|has|is|beside)\b)[a-z])`,
    instead: "its own X, a separate X",
    bad: ["a process of its own", "files of their own.", "a database of its own for each test"],
    good: ["the small pictures of its own tests"],
  },
  {
    pattern: String.raw`\b(?:the|a) version before\b(?! (?:it|them|that|the|a)\b)`,
    instead: "the previous version",
    bad: ["the version before serves"],
    good: ["the version before it"],
  },
  { pattern: String.raw`\band (?:\d+|\$\{[^}]+\}) may\b`, instead: "(limit N)", bad: ["5 are waiting, and 4 may."] },
  { pattern: String.raw`\bis replaced by itself\b`, instead: "restarts automatically", bad: ["it is replaced by itself"] },
  { pattern: String.raw`\b(?:in|out)side of\b`, instead: "inside, outside", bad: ["a graph inside of a node"] },
  {
    pattern: String.raw`\bso (?:many|long)\b(?! (?:that|as)\b)`,
    instead: "this many, this long",
    bad: ["after so many steps"],
    good: ["so many that", "so long as"],
  },
  { pattern: String.raw`\ball the same\b`, instead: "anyway, still", bad: ["refused all the same"] },
  { pattern: String.raw`\bmend(?:s|ed|ing)?\b`, instead: "fix, repair", bad: ["that is mended"], good: ["recommend, amended"] },
  { pattern: String.raw`\bbut for\b`, instead: "except for", bad: ["all but for one"] },
  { pattern: String.raw`\b(?:holds|knows) no\b(?! longer)`, instead: "has no, does not know", bad: ["the file holds no key"] },
  { pattern: String.raw`\bbelongs? into\b`, instead: "belongs in", bad: ["it belongs into Git"] },
  { pattern: String.raw`\btakes no (?:notice|offence)\b`, instead: "ignores, accepts", bad: ["DVC takes no notice of it"] },
];

/** A space of a pattern, in a text that may be wrapped in a comment. */
const compiled = rules.map((rule) => ({
  ...rule,
  regex: new RegExp(rule.pattern.replaceAll(/(?<!\\) /g, String.raw`(?:[ ]|\s*\n\s*(?:\*|//|#)?[ ]*)`), "gi"),
}));

/** The name of a user of the operating system. */
const allowed: readonly RegExp[] = [/user: nobody/g];

const folders = ["src", "tests", "scripts", "bench", "docs", "deployment", "recipes", ".github"];
const skipped = /^(?:tests\/fixtures\/|tests\/unit\/house\/words\.test\.ts$|docs\/notes\/words\.md$|docs\/openapi\.json$)/;
const text = /\.(?:ts|md|sh|ya?ml|cfg|example|html|css)$/;

function textFiles(): string[] {
  const files = readdirSync(root).filter((name) => text.test(name) || name === "Dockerfile");
  for (const folder of folders) {
    for (const entry of readdirSync(join(root, folder), { recursive: true, withFileTypes: true })) {
      if (entry.isFile() && text.test(entry.name)) files.push(relative(root, join(entry.parentPath, entry.name)).replaceAll("\\", "/"));
    }
  }
  return files.filter((path) => !skipped.test(path));
}

function findings(path: string, whole: string): string[] {
  let content = whole;
  // The rows of its table are pairs of what was written before, and what is written now.
  if (path === "CONTRIBUTING.md") content = content.replaceAll(/^\|.*$/gm, "");
  for (const quote of allowed) content = content.replaceAll(quote, (found) => " ".repeat(found.length));
  const found: string[] = [];
  for (const { regex, instead } of compiled) {
    for (const match of content.matchAll(regex)) {
      const line = content.slice(0, match.index).split("\n").length;
      found.push(`${path}:${line}: "${match[0].replaceAll(/\s+/g, " ")}": write "${instead}"`);
    }
  }
  return found;
}

test("sources, tests and documents have none of the phrases that a reader has to decode", () => {
  expect(textFiles().flatMap((path) => findings(path, readFileSync(join(root, path), "utf8")))).toEqual([]);
});

describe("each rule", () => {
  test.each(compiled)("finds what it forbids, and nothing else: $pattern", ({ pattern, bad, good = [] }) => {
    const hits = (sentence: string): number => findings("a.md", sentence).length;
    expect(bad.map((sentence) => [sentence, hits(sentence) > 0])).toEqual(bad.map((sentence) => [sentence, true]));
    expect([pattern, good.filter((sentence) => hits(sentence) > 0)]).toEqual([pattern, []]);
  });
});
