import { DatabaseSync } from "node:sqlite";
import fc from "fast-check";
import { expect, test } from "vitest";
import { Like } from "../../../../src/tracking/server/search/like.ts";

test("LIKE finds what SQLite's own finds", () => {
  const db = new DatabaseSync(":memory:");
  db.exec("PRAGMA case_sensitive_like = ON");
  const native = db.prepare("SELECT ? LIKE ? AS fits");
  const text = fc.string({ unit: fc.constantFrom("a", "b", "A", "é", "😀", "%", "_", "\\"), maxLength: 12 });
  const like = new Like();
  fc.assert(
    fc.property(text, text, (pattern, value) => {
      like.restart();
      expect(like.fits(pattern, value)).toBe(native.get(value, pattern)?.["fits"] === 1);
    }),
    {
      numRuns: 3000,
      examples: [
        ["%", ""],
        ["", ""],
        ["_", "😀"],
        ["%_😀", "a😀😀"],
        ["%a_", "aaab"],
      ],
    },
  );
  db.close();
});

test("LIKE with texts between the % takes time in proportion to the text, and with many _ it gives up", () => {
  const like = new Like();
  const text = "a".repeat(200_000);
  const start = performance.now();
  for (const pattern of [`%${"a".repeat(4000)}b%`, `%b${"a".repeat(4000)}%`, "%a".repeat(4000).concat("b"), "%".repeat(8000).concat("b")])
    expect(like.fits(pattern, text)).toBe(false);
  expect(performance.now() - start).toBeLessThan(2000);
  expect(() => like.fits(`%${"a_".repeat(2000)}b%`, text)).toThrow("takes too long");
});
