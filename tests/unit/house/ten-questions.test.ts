import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";

const folder = join(import.meta.dirname, "../../../docs/notes");
const plain = (text: string): string => text.replaceAll(/\s+/g, " ");

test("each question of a new user is answered by the sentence that docs/notes/ten-questions.md quotes, on the page that it names", () => {
  const rows = [
    ...readFileSync(join(folder, "ten-questions.md"), "utf8").matchAll(/^\| (.+\?) \| "(.+)" \| \[[^\]]+\]\(([^)#]+)[^)]*\) \|/gm),
  ];
  expect(rows.length).toBeGreaterThanOrEqual(10);
  const unanswered = rows.filter(
    ([, , sentence = "", page = ""]) => !plain(readFileSync(join(folder, page), "utf8")).includes(plain(sentence)),
  );
  expect(unanswered.map(([, question]) => question)).toEqual([]);
});
