import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { beginsWith, commandsOf, findBlock, isCommands, pages, placeOf, readBlocks, readSpans, root, type Block } from "./blocks.ts";
import { notRun } from "./not-run.ts";

interface Followed {
  readonly test: string;
  readonly page: string;
  readonly begins: string;
}

/** The calls `follow("PAGE", "BEGINNING"` of the tests. */
const followed: readonly Followed[] = ["docs", "containers"].flatMap((folder) =>
  readdirSync(join(root, "tests", folder))
    .filter((name) => name.endsWith(".ts"))
    .flatMap((name) => {
      const text = readFileSync(join(root, "tests", folder, name), "utf8");
      return [...text.matchAll(/\bfollow\(\s*"([^"]+)",\s*("(?:[^"\\]|\\.)*"|'[^']*')/g)].map(([, page = "", begins = ""]) => ({
        test: `tests/${folder}/${name}`,
        page,
        begins: begins.startsWith("'") ? begins.slice(1, -1) : (JSON.parse(begins) as string),
      }));
    }),
);
const commands = pages.flatMap(readBlocks).filter(isCommands);
const isOf =
  (block: Block) =>
  ({ page, begins }: { readonly page: string; readonly begins: string }): boolean =>
    page === block.page && beginsWith(block, begins);

test("every block of commands is run by a test, or is on the list with its reason, and not both", () => {
  const wrong = commands.flatMap((block) => {
    const run = followed.some(isOf(block)) || sameBlock(block);
    if (run !== notRun.some(isOf(block))) return [];
    const what = `${placeOf(block)}, the block that begins with ${JSON.stringify(block.lines[0])}`;
    return run
      ? [`${what}, is run and is on the list: take it off the list in tests/docs/not-run.ts.`]
      : [
          `${what}, is run by no test. Follow it in tests/docs, in the folder that the page speaks of, or list it in tests/docs/not-run.ts.`,
        ];
  });
  expect(wrong).toEqual([]);
});

/** One line that another page has as well, and that a test runs there in the same kind of folder. */
function sameBlock(block: Block): boolean {
  const text = commandsOf(block).join("\n");
  return commands.some((other) => other !== block && commandsOf(other).join("\n") === text && followed.some(isOf(other)));
}

test("what the list names is there, once", () => {
  for (const { page, begins } of notRun) expect(findBlock(page, begins).page).toBe(page);
});

test("at most a fifth of the blocks is on the list", () => {
  expect(commands.length).toBeGreaterThan(35);
  expect(notRun.length / commands.length).toBeLessThanOrEqual(0.2);
});

/** Verb with its subcommand -> options, from docs/cli.md, which holds what `--help` prints: tests/unit/house compares it. */
const helpTexts = new Map(
  readFileSync(join(root, "docs/cli.md"), "utf8")
    .split(/^#+ serval (?=[a-z])/m)
    .slice(1)
    .map((section) => {
      const [name = "", ...help] = section.split("\n");
      return [name, help.join("\n")];
    }),
);
const scripts = new Set(Object.keys((JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { scripts: object }).scripts));

/** What is wrong with the verbs, options and scripts of a command. */
function wrongIn(command: string): string[] {
  const wrong: string[] = [];
  for (const [, name = ""] of command.matchAll(/\bnpm run (?:--silent )?([\w:-]+)/g)) {
    if (!scripts.has(name)) wrong.push(`package.json has no script ${name}`);
  }
  for (const [, words = ""] of command.matchAll(/(?:^|[\s(])serval (?:-- )?([a-z][^|;&#]*)/g)) {
    const [verb = "", sub = "", ...rest] = words.trim().split(/\s+/);
    const name = helpTexts.has(`${verb} ${sub}`) ? `${verb} ${sub}` : verb;
    const help = helpTexts.get(name);
    if (help === undefined) {
      wrong.push(`there is no verb ${verb}`);
      continue;
    }
    for (const option of [sub, ...rest].flatMap((word) => /^--?[a-z][\w-]*/.exec(word) ?? [])) {
      if (!new RegExp(`(^|[\\s,])${option}(?![\\w-])`, "m").test(help)) wrong.push(`serval ${name} has no option ${option}`);
    }
  }
  return wrong;
}

describe("the verbs, options and scripts that a page names are there", () => {
  test("a verb, an option and a script that are not there are found", () => {
    expect(wrongIn("npx serval trian")).toEqual(["there is no verb trian"]);
    expect(wrongIn("serval data import --wet")).toEqual(["serval data import has no option --wet"]);
    expect(wrongIn("npm run serval -- deploy --undoo IMAGE")).toEqual(["serval deploy has no option --undoo"]);
    expect(wrongIn("npm run tests")).toEqual(["package.json has no script tests"]);
    expect(wrongIn("npx serval models promote --force --reason TEXT && npm run test:cases")).toEqual([]);
  });

  test.each(pages)("%s", (page) => {
    const inBlocks = readBlocks(page)
      .filter(isCommands)
      .flatMap((block) => commandsOf(block).flatMap((line) => wrongIn(line).map((wrong) => `${placeOf(block)}: ${wrong}: ${line}`)));
    const inProse = readSpans(page).flatMap(({ line, text }) => wrongIn(text).map((wrong) => `${page}:${line}: ${wrong}: ${text}`));
    expect([...inBlocks, ...inProse]).toEqual([]);
  });
});
