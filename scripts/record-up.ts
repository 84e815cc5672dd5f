/**
 * Records `serval up --data images/` in a terminal, with 50 photographs of each of two classes, as docs/images/up.svg. It takes the
 * photographs from the zip that SERVAL_TEST_PHOTOS names, else the drawn sample, and `script` of util-linux for the terminal.
 *
 *     SERVAL_TEST_PHOTOS=photos.zip npm run docs:recording
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { writeFileAtomic } from "../src/files.ts";
import { writeClassFolders } from "../tests/helpers/class-folders.ts";
import { freePort } from "../tests/helpers/free-port.ts";
import { replay, shortenPauses, type Written } from "./recording/terminal.ts";
import { drawRecording } from "./recording/terminal-svg.ts";

const root = join(import.meta.dirname, "..");
const [columns, rows] = [104, 24];
const command = "npx serval up --data images/";
const typingSeconds = 1.5;
/** How long the end is shown before the recording begins again. */
const restSeconds = 6;
const longestPause = 1.5;

const above = await mkdtemp(join(tmpdir(), "serval-recording-"));
// The model is called like the folder.
const folder = join(above, "own");
const port = String(await freePort());
try {
  await writeClassFolders(join(folder, "images"), 50);
  const { written, seconds } = await record();
  const shown = [...typed(), ...shortenPauses(written, longestPause).map(({ at, text }) => ({ at: at + typingSeconds + 0.5, text }))];
  const total = Math.ceil((shown.at(-1)?.at ?? 0) + restSeconds);
  const svg = drawRecording(replay(shown, { columns }), {
    title: command,
    description: "A terminal: the command imports 100 photographs of cats and dogs, trains a classifier, evaluates and serves it.",
    columns,
    rows,
    seconds: total,
  });
  await writeFileAtomic(join(root, "docs/images/up.svg"), svg);
  console.log(`The command served after ${seconds.toFixed(1)} s. docs/images/up.svg: ${total} s, ${Math.round(svg.length / 1024)} KB.`);
} finally {
  await rm(above, { recursive: true });
}

/** A person who types the command. */
function typed(): Written[] {
  const step = typingSeconds / command.length;
  return [{ at: 0, text: "$ " }, ...Array.from(command, (text, i) => ({ at: i * step, text })), { at: typingSeconds, text: "\r\n" }];
}

/** What the command writes until it serves; then it is stopped as by Ctrl-C. */
async function record(): Promise<{ written: Written[]; seconds: number }> {
  const serval = `stty cols ${columns} rows ${rows}; exec '${process.execPath}' '${join(root, "src/cli/main.ts")}' up --data images`;
  const env = { ...process.env, SERVAL_PORT: port, SERVAL_LOG_LEVEL: "silent" };
  const child = spawn("script", ["--quiet", "--flush", "--return", "--command", serval, "/dev/null"], { cwd: folder, env });
  const started = performance.now();
  const written: Written[] = [];
  child.stdout.setEncoding("utf8").on("data", (chunk: string) => {
    if (child.stdin.writableEnded) return;
    // The ports of the machine that records say nothing to a reader.
    const text = chunk.replaceAll(port, "8000").replace(/(Runs and registered models: http:\/\/127\.0\.0\.1:)\d+/, "$15001");
    written.push({ at: (performance.now() - started) / 1000, text });
    if (/^Serving own .* at http\S+\s/m.test(written.map(({ text }) => text).join(""))) child.stdin.end("\x03");
  });
  await once(child, "close");
  if (!child.stdin.writableEnded) throw new Error(`The command ended before it served:\n${written.map(({ text }) => text).join("")}`);
  return { written, seconds: written.at(-1)?.at ?? 0 };
}
