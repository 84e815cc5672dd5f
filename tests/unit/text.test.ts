import { expect, test } from "vitest";
import { escapeHtml, firstOf, percent, thousands } from "../../src/text.ts";

test("a share is written as a percentage, and a count with its thousands apart", () => {
  expect([percent(0.92651), percent(0.92651, 2), percent(1)]).toEqual(["92.7 %", "92.65 %", "100.0 %"]);
  expect([thousands(999), thousands(1_234_567)]).toEqual(["999", "1,234,567"]);
});

test("of a long list the first are named and the others counted, on one line or on several", () => {
  const names = ["a", "b", "c", "d"];
  expect([firstOf(names, 4), firstOf(names, 2), firstOf([], 2)]).toEqual(["a, b, c, d", "a, b and 2 more", ""]);
  expect(firstOf(names, 3, "\n  ")).toBe("a\n  b\n  c\n  and 1 more");
});

test("nothing in a text ends a tag, an attribute or an entity", () => {
  expect(escapeHtml(`<a href="x" title='y'>R&D</a>`)).toBe("&lt;a href=&quot;x&quot; title=&#39;y&#39;&gt;R&amp;D&lt;/a&gt;");
});
