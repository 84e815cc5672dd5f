import { expect, test } from "vitest";
import { drawRecording } from "../../../scripts/recording/terminal-svg.ts";
import { replay, shortenPauses } from "../../../scripts/recording/terminal.ts";

const terminal = { columns: 20 };

test("a recording shows a progress bar change in its row, and the next line below it", () => {
  const { lines, rows } = replay(
    [
      { at: 0, text: "\r\u001b[2KImporting 1/2" },
      { at: 1, text: "\r\u001b[2KImporting 2/2" },
      { at: 2, text: "\r\u001b[2KDone\r\nNext\r\n" },
    ],
    terminal,
  );
  expect(lines).toEqual([
    { row: 0, text: "Importing 1/2", from: 0, until: 1 },
    { row: 0, text: "Importing 2/2", from: 1, until: 2 },
    { row: 0, text: "Done", from: 2 },
    { row: 1, text: "Next", from: 2 },
  ]);
  expect(rows).toBe(3);
});

test("what is longer than a row of the terminal continues in the next one", () => {
  const { lines } = replay([{ at: 0, text: "0123456789\r\nnext" }], { columns: 6 });
  expect(lines.map(({ row, text }) => [row, text])).toEqual([
    [0, "012345"],
    [1, "6789"],
    [2, "next"],
  ]);
});

test("a row that changes many times a second shows only some of its texts, and the last", () => {
  const written = Array.from({ length: 11 }, (_, i) => ({ at: i / 10, text: `\r${i}` }));
  const { lines } = replay(written, { ...terminal, leastSeconds: 0.45 });
  expect(lines.map(({ text }) => text)).toEqual(["4", "9", "10"]);
});

test("a long pause is shortened, and everything after it comes earlier", () => {
  const written = [0, 1, 9, 10].map((at) => ({ at, text: "." }));
  expect(shortenPauses(written, 2).map(({ at }) => at)).toEqual([0, 1, 3, 4]);
});

test("a recording is drawn without scripts, scrolls, and shows the end where nothing may move", () => {
  const written = Array.from({ length: 5 }, (_, i) => ({ at: i, text: `<line ${i}>\r\n` }));
  const svg = drawRecording(replay(written, terminal), { title: "a & b", description: "five lines", columns: 20, rows: 3, seconds: 10 });
  expect(svg).toContain(">&lt;line 4&gt;</text>");
  expect(svg).toContain('<title id="t">a &amp; b</title>');
  expect(svg).toContain("30%{transform:translateY(-17px)}40%{transform:translateY(-34px)}");
  expect(svg).toContain(".rows{transform:translateY(-51px)}");
  expect(svg).not.toContain("<script");
});
