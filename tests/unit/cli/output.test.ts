import { describe, expect, test } from "vitest";
import { createOutput } from "../../../src/cli/output.ts";
import { formatDuration } from "../../../src/workflows/format-duration.ts";
import { RecordedStream } from "../../helpers/recorded-output.ts";

/** Back to the first column, and erase the line (ECMA-48 EL). */
const clearLine = "\r\u001B[2K";

function outputs(options: { json?: boolean; terminal?: boolean } = {}): {
  stdout: RecordedStream;
  stderr: RecordedStream;
  output: ReturnType<typeof createOutput>;
} {
  const stdout = new RecordedStream();
  const stderr = new RecordedStream();
  stderr.isTTY = options.terminal ?? false;
  const output = createOutput({
    json: options.json ?? false,
    stdout: stdout as unknown as NodeJS.WritableStream,
    stderr: stderr as unknown as NodeJS.WritableStream,
  });
  return { stdout, stderr, output };
}

describe("what a command prints", () => {
  test("goes to stdout as lines and a result, and to stderr as remarks", () => {
    const { stdout, stderr, output } = outputs();
    output.line("reading");
    output.warn("one file was left out");
    output.result({ count: 2 }, "2 images");
    expect(stdout.text).toBe("reading\n2 images\n");
    expect(stderr.text).toBe("one file was left out\n");
  });

  test("is one JSON document on stdout with --json", () => {
    const { stdout, stderr, output } = outputs({ json: true });
    output.line("reading");
    output.warn("one file was left out");
    output.result({ count: 2 }, "2 images");
    expect(JSON.parse(stdout.text)).toEqual({ count: 2 });
    expect(stderr.text).toBe("one file was left out\n");
  });

  test("shows a bar with count, note and time left on a terminal, and the last line in its place", () => {
    const { stderr, output } = outputs({ terminal: true });
    const progress = output.progress("Training", 4, "images");
    progress.update(2, "loss 0.5");
    expect(stderr.text.split(clearLine)[1]).toMatch(/^Training █{12}░{12} 2\/4 {2}\d+ images\/s {2}loss 0\.5 {2}0s left$/);
    progress.update(4);
    expect(stderr.text).toMatch(/█{24} 4\/4/);
    progress.end("trained");
    expect(stderr.text.endsWith(`${clearLine}trained\n`)).toBe(true);
  });

  test("never draws wider than the terminal", () => {
    const { stderr, output } = outputs({ terminal: true });
    stderr.columns = 30;
    output.progress("A long label for something", 10, "images").update(3, "a note that is long as well");
    expect(stderr.text.replace(clearLine, "")).toHaveLength(29);
  });

  test("stays quiet on a pipe for work of a moment", () => {
    const { stderr, output } = outputs();
    const progress = output.progress("Training", 100);
    for (let done = 0; done <= 100; done++) progress.update(done);
    progress.end();
    expect(stderr.text).toBe("");
  });

  test.each([
    [0.2, "0s"],
    [59.4, "59s"],
    [187, "3m07s"],
    [3600, "1h00m"],
    [7530, "2h05m"],
    [-3, "0s"],
  ])("writes %d seconds as %s", (seconds, text) => {
    expect(formatDuration(seconds)).toBe(text);
  });
});
