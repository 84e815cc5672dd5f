/**
 * `add`, `status` and `checkout` of 22,000 files: Serval against dvc, in turn, on folders with the same bytes.
 * Cold means that the tool's own database of known hashes is gone; the pages of the files are in memory for both. Each round
 * has new folders, and what must go is moved aside: a file system that was asked to delete creates files slowly for half a
 * minute (ext4 takes no inode that was freed a moment ago), which would be measured in both.
 *
 *     npm run bench:data -- [--files N] [--rounds N]
 */
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { printReport, summarize } from "./report.ts";

const { values } = parseArgs({ options: { files: { type: "string", default: "22000" }, rounds: { type: "string", default: "3" } } });
const [files, rounds] = [Number(values.files), Number(values.rounds)];
const root = join(import.meta.dirname, "..");
const venvDvc = join(root, ".venv/bin/dvc");
const dvc = existsSync(venvDvc) ? venvDvc : "dvc";
const folder = mkdtempSync(join(tmpdir(), "serval-bench-data-"));

interface Tool {
  readonly name: "serval" | "dvc";
  readonly command: readonly string[];
  /** Where it remembers hashes, relative to the repository. */
  readonly state: string;
}
const tools: readonly Tool[] = [
  { name: "serval", command: [process.execPath, join(root, "src/cli/main.ts")], state: ".serval" },
  { name: "dvc", command: [dvc], state: ".site" },
];

function run(repository: string, [program = "", ...args]: readonly string[]): number {
  const startedAt = performance.now();
  const env = { ...process.env, DVC_NO_ANALYTICS: "1", DVC_SITE_CACHE_DIR: join(repository, ".site"), NO_UPDATE_NOTIFIER: "1" };
  execFileSync(program, args, { cwd: repository, env, stdio: "pipe" });
  return performance.now() - startedAt;
}

/** Bytes that look like photographs to a hash: the same for both tools, different in each file. */
function writeFiles(dir: string): void {
  let seed = 42;
  const random = (): number => (seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0) / 2 ** 32;
  const block = Buffer.alloc(1 << 16);
  for (let i = 0; i < block.length; i++) block[i] = random() * 256;
  for (let i = 0; i < files; i++) {
    const sub = join(dir, i % 2 === 0 ? "cat" : "dog");
    if (i < 2) mkdirSync(sub, { recursive: true });
    const size = 3000 + Math.floor(random() * 4500);
    const bytes = Buffer.from(block.subarray(Math.floor(random() * 50_000), Math.floor(random() * 50_000) + size));
    writeFileSync(join(sub, `${i}.jpg`), Buffer.concat([Buffer.from(`${i}\n`), bytes]));
  }
}

function newRepository(name: string, linkType: string): string {
  const repository = join(folder, name);
  mkdirSync(repository, { recursive: true });
  execFileSync("git", ["init", "--quiet"], { cwd: repository });
  run(repository, [dvc, "init", "--quiet"]);
  writeFileSync(join(repository, ".dvc/config"), `[cache]\n    type = ${linkType}\n`);
  writeFileSync(join(repository, ".gitignore"), ".serval\n.site\n");
  return repository;
}

const aside = join(folder, "aside");
mkdirSync(aside);
let moved = 0;
const remove = (...parts: string[]): void => {
  if (existsSync(join(...parts))) renameSync(join(...parts), join(aside, String(moved++)));
};
const times = new Map<string, number[]>();
const note = (tool: Tool, what: string, ms: number): void => {
  const key = `${what}|${tool.name}`;
  times.set(key, [...(times.get(key) ?? []), ms]);
};

try {
  const empty = newRepository("empty", "copy");
  const operations: string[] = [];
  for (const linkType of ["copy", "hardlink"]) {
    for (let round = 0; round < rounds; round++) {
      const repositories = tools.map(({ name }) => newRepository(`${name}-${linkType}-${round}`, linkType));
      for (const repository of repositories) writeFiles(join(repository, "data"));
      execFileSync("sync");
      const step = (what: string, prepare: (repository: string, tool: Tool) => void, args: readonly string[]): void => {
        const label = `${what}, ${linkType}`;
        if (round === 0) operations.push(label);
        // The order changes from round to round.
        const order = round % 2 === 0 ? tools : tools.toReversed();
        for (const tool of order) {
          const repository = repositories[tools.indexOf(tool)] as string;
          prepare(repository, tool);
          note(tool, label, run(repository, [...tool.command, ...args]));
        }
        process.stderr.write(`round ${round + 1} of ${rounds}: ${label}\n`);
      };
      const forget = (repository: string, tool: Tool): void => remove(repository, tool.state);
      step("add, cold", forget, ["add", "data"]);
      step("add again, warm", () => undefined, ["add", "data"]);
      step("status, warm", () => undefined, ["status"]);
      step("status, cold", forget, ["status"]);
      step("checkout, warm", (repository) => remove(repository, "data"), ["checkout"]);
      step(
        "checkout, cold",
        (repository, tool) => {
          remove(repository, "data");
          forget(repository, tool);
        },
        ["checkout"],
      );
      for (const tool of tools) note(tool, "start", run(empty, [...tool.command, "status"]));
    }
  }
  const of = (what: string, name: Tool["name"]): number[] => times.get(`${what}|${name}`) ?? [];
  const [ourStart, theirStart] = [summarize(of("start", "serval")).median, summarize(of("start", "dvc")).median];
  const results = ["start", ...operations].map((what) => {
    const [ours, theirs] = [summarize(of(what, "serval")), summarize(of(what, "dvc"))];
    const ratio = theirs.median / ours.median;
    // Only dvc's start is taken off: Serval's stays in its time.
    const withoutStart = what === "start" ? undefined : (theirs.median - theirStart) / ours.median;
    return { what, servalMs: ours, dvcMs: theirs, ratio, ratioWithoutDvcStart: withoutStart };
  });
  const seconds = (ms: number): string => (ms / 1000).toFixed(2);
  printReport(
    `Serval against dvc ${execFileSync(dvc, ["--version"], { encoding: "utf8" }).trim()}: ${files} files, ${rounds} rounds in turn`,
    ["operation", "serval s", "p95", "dvc s", "p95", "ratio", "without dvc's start"],
    results.map(({ what, servalMs, dvcMs, ratio, ratioWithoutDvcStart }) => [
      what,
      seconds(servalMs.median),
      seconds(servalMs.p95),
      seconds(dvcMs.median),
      seconds(dvcMs.p95),
      ratio.toFixed(1),
      ratioWithoutDvcStart?.toFixed(1) ?? "",
    ]),
    { files, rounds, startMs: { serval: ourStart, dvc: theirStart }, results },
  );
} finally {
  rmSync(folder, { recursive: true, force: true });
}
