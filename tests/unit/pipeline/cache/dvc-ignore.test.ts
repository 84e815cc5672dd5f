import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { loadDvcIgnore, type Ignored } from "../../../../src/pipeline/dvc-files/dvc-ignore.ts";

function rules(...lines: string[]): Ignored {
  const dir = mkdtempSync(join(tmpdir(), "serval-ignore-"));
  onTestFinished(() => rmSync(dir, { recursive: true }));
  writeFileSync(join(dir, ".dvcignore"), `${lines.join("\n")}\n`);
  return loadDvcIgnore(dir, "");
}

test.each<[rule: string, ignored: readonly string[], seen: readonly string[]]>([
  ["*.tmp", ["a.tmp", "a/b.tmp", ".tmp"], ["a.tmp.x", "tmp"]],
  ["a*b*c", ["abc", "axbxbxc", "d/abbc"], ["abcd", "ab/c", "acb"]],
  ["/a/*/c", ["a/b/c"], ["a/c", "a/b/b/c", "x/a/b/c"]],
  ["**/a/**/b*", ["a/b", "x/a/y/z/bc", "a/a/b"], ["b", "a/xb/c", "ab/b"]],
  ["a/**", ["a/b", "a/b/c"], ["a", "b/a/c"]],
  ["a[!b]c", ["axc"], ["abc", "a/c"]],
  ["a[b/]c", ["abc"], ["a/c"]],
  ["*a*a*b", ["aab", "xaxaxaab"], ["ab", "aaba"]],
])("the rule %s takes %j and leaves %j", (rule, ignored, seen) => {
  const takes = rules(rule);
  expect(ignored.filter((path) => !takes(path, false))).toEqual([]);
  expect(seen.filter((path) => takes(path, false))).toEqual([]);
});

test("rules with many stars are decided at once, also for the longest names and the deepest folders", () => {
  const takes = rules("*a*a*a*a*a*a*a*a*a*a*a*b", "**/a/**/a/**/a/**/a/**/a/**/a/**/a/**/b", "*?*?*?*?*?*?*?*?*?*?b");
  const before = process.cpuUsage();
  for (const path of ["a".repeat(255), "a/".repeat(2000).concat("c"), `${"a".repeat(255)}/`.repeat(15).concat("a")])
    expect(takes(path, false)).toBe(false);
  expect(process.cpuUsage(before).user).toBeLessThan(1_000_000);
});
