import { execFile, execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { runServal } from "../helpers/serval-process.ts";
import { python } from "./python.ts";

/** What both tools are told to do in a repository of the same files, and what each leaves behind. */
interface Scenario {
  readonly name: string;
  readonly files: Readonly<Record<string, string>>;
  /** Command lines; both tools take them. `rm` removes a file. */
  readonly steps: readonly (readonly string[])[];
  /** Files whose text, or absence, is compared. */
  readonly look: readonly string[];
  /** What Git has in its index is compared as well. */
  readonly index?: boolean;
}

const chain = `stages:
  a1: {cmd: cp x o1, deps: [x], outs: [o1]}
  a2: {cmd: cp o1 o2, deps: [o1], outs: [o2]}
  b1: {cmd: exit 1, deps: [x], outs: [p1]}
  b2: {cmd: cp p1 p2, deps: [p1], outs: [p2]}
  c: {cmd: cp x q, deps: [x], outs: [q]}
`;
const outs = ["o1", "o2", "p1", "p2", "q", "dvc.lock"];
const chained = (name: string, ...steps: readonly (readonly string[])[]): Scenario => ({
  name: `repro ${name}`,
  files: { x: "1", "dvc.yaml": chain },
  steps: steps.length > 0 ? steps : [["repro", ...name.split(" ")]],
  look: outs,
});
const stage = (params: string): string => `stages:\n  a:\n    cmd: echo 1 > o\n    params: ${params}\n    outs: [o]\n`;

const scenarios: readonly Scenario[] = [
  {
    name: "numbers with underscores are numbers",
    files: {
      "params.yaml": "a: 1_000\nb: 0x1_F\nc: 1_0.5\nd: _1\ne: -1_0\nf: 0b1_1\ng: 1_0e2\nh: '1_000'\ni: 017\nj: 1_\n",
      "dvc.yaml": stage("[a, b, c, d, e, f, g, h, i, j]"),
    },
    steps: [["repro"]],
    look: ["dvc.lock"],
  },
  {
    name: "params of a TOML file",
    files: {
      "p.toml": "title = 'a'\n[train]\nlr = 0.1\nn = 1_000\nbig = 1e3\nlist = [1, 2.0]\non = true\n[train.deep]\nx = 'y'\n",
      "dvc.yaml": stage("[{p.toml: [train, title]}]"),
    },
    steps: [["repro"]],
    look: ["dvc.lock"],
  },
  { name: "an empty dvc.yaml has nothing to do", files: { "dvc.yaml": "" }, steps: [["repro"]], look: ["dvc.lock"] },
  {
    name: "data sets that no stage uses",
    files: { "dvc.yaml": "datasets:\n- {name: d, url: 's3://b/k', type: url}\nstages:\n  a: {cmd: echo 1 > o, outs: [o]}\n" },
    steps: [["repro"]],
    look: ["dvc.lock"],
  },
  {
    name: "one file of a folder",
    files: { "d/a": "1", "d/sub/b": "2", "d/sub/c": "3" },
    steps: [
      ["add", "d"],
      ["rm", "d/a"],
      ["rm", "d/sub/b"],
      ["rm", "d/sub/c"],
      ["checkout", "d/sub/b"],
    ],
    look: ["d/a", "d/sub/b", "d/sub/c", "d.dvc"],
  },
  {
    name: "core.autostage",
    files: { x: "1", "dvc.yaml": "stages:\n  a: {cmd: cp x o, deps: [x], outs: [o]}\n", ".dvc/config": "[core]\n    autostage = true\n" },
    steps: [["repro"]],
    look: ["dvc.lock", ".gitignore"],
    index: true,
  },
  chained("--keep-going"),
  chained("--keep-going b2 a2"),
  chained("--downstream a1"),
  chained("--glob a*"),
  chained("-p a1"),
  chained("-p a2 c"),
  chained("--allow-missing a2", ["repro", "a2"], ["rm", "x"], ["rm", "o1"], ["repro", "--allow-missing", "a2"]),
  chained("--pull a2", ["repro", "a2"], ["push"], ["rm", "o1"], ["rm", "o2"], ["rm", ".dvc/cache"], ["repro", "--pull", "a2"]),
];

let dir: string;

async function prepare(tool: string, i: number, { files }: Scenario): Promise<string> {
  const cwd = join(dir, `${tool}-${i}`);
  const config = "[core]\n    remote = r\n['remote \"r\"']\n    url = ../remote\n";
  for (const [path, text] of Object.entries({ ".dvc/config": config, ".dvc/.gitignore": "/config.local\n/tmp\n/cache\n", ...files })) {
    await mkdir(dirname(join(cwd, path)), { recursive: true });
    await writeFile(join(cwd, path), text);
  }
  execFileSync("git", ["init", "--quiet"], { cwd });
  return cwd;
}

async function look(cwd: string, { look: paths, index = false }: Scenario): Promise<unknown> {
  const texts: Record<string, string | undefined> = {};
  for (const path of paths) texts[path] = existsSync(join(cwd, path)) ? await readFile(join(cwd, path), "utf8") : undefined;
  return [texts, index ? execFileSync("git", ["ls-files"], { cwd, encoding: "utf8" }) : ""];
}

const theirs = new Map<Scenario, { readonly code: number; readonly left: unknown }>();

/** The real dvc runs all scenarios in one process, up to each removal of a file. */
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "serval-scenarios-"));
  const folders = new Map<Scenario, string>();
  for (const [i, scenario] of scenarios.entries()) folders.set(scenario, await prepare("dvc", i, scenario));
  const jobs = scenarios.map((scenario) => ({ cwd: folders.get(scenario), steps: scenario.steps }));
  const env = { ...process.env, DVC_NO_ANALYTICS: "1", DVC_SITE_CACHE_DIR: join(dir, "site") };
  const stdout = await new Promise<string>((resolve, reject) => {
    const child = execFile(python, ["-W", "ignore", join(import.meta.dirname, "dvc_scenarios.py")], { env }, (error, out, err) =>
      error === null ? resolve(out) : reject(new Error(err)),
    );
    child.stdin?.end(JSON.stringify(jobs));
  });
  const codes = JSON.parse(stdout.trim().split("\n").at(-1) ?? "") as number[][];
  for (const [i, scenario] of scenarios.entries())
    theirs.set(scenario, { code: codes[i]?.at(-1) ?? -1, left: await look(folders.get(scenario) ?? "", scenario) });
}, 300_000);
afterAll(async () => rm(dir, { recursive: true, force: true }));

describe("serval leaves what dvc leaves", () => {
  test.each(scenarios)("$name", async (scenario) => {
    const cwd = await prepare("serval", scenarios.indexOf(scenario), scenario);
    let code: number | null = 0;
    for (const [verb = "", ...args] of scenario.steps) {
      if (verb === "rm") await rm(join(cwd, args[0] ?? ""), { recursive: true });
      else ({ code } = await runServal(cwd, [verb, ...args]));
    }
    const expected = theirs.get(scenario);
    expect({ failed: code !== 0, left: await look(cwd, scenario) }).toEqual({ failed: expected?.code !== 0, left: expected?.left });
  });
});
