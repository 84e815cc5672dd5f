import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { constants, existsSync, readFileSync } from "node:fs";
import { chmod, mkdir, mkdtemp, open, readFile, rm, writeFile } from "node:fs/promises";
import { connect, createServer, type AddressInfo, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { VERBS } from "../../src/cli/main.ts";
import { createMarks } from "../../src/deploy/compose/release-marks.ts";
import { pretendProject, startPretendCompose } from "../helpers/pretend-compose.ts";
import { writePatternSet } from "../helpers/pattern-set.ts";
import { mustRun } from "../helpers/pattern-project.ts";
import { startServal, type ServalProcess } from "../helpers/serval-process.ts";
import { colourPicture, writeTinyBundle } from "../helpers/tiny-bundle.ts";

// Serval runs under supervisors that kill what does not end; a verb that waits or computes has to end by itself.
const limitMs = 2000;
// A process that is ready to end waits for a processor like any other.
const busyMachine = { retry: 2 };

let root: string;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "serval-signals-"));
  await mkdir(join(root, "bin"));
  await writeFile(join(root, "bin/git"), `#!/bin/sh\necho $$ > "$GIT_STARTED"\nexec sleep 60\n`);
  await chmod(join(root, "bin/git"), 0o755);
});
afterAll(async () => await rm(root, { recursive: true }));

/** Something that takes long, and how to see that the verb is in the middle of it. */
interface LongWork {
  readonly args: readonly string[];
  readonly env?: NodeJS.ProcessEnv;
  readonly busy: (serval: ServalProcess) => boolean | Promise<boolean>;
}

/** Runs when the test is over. */
type AtEnd = (clean: () => unknown) => void;

type Prepare = (dir: string, atEnd: AtEnd) => Promise<LongWork>;

/** A server that takes every connection and answers none. */
async function startSilentServer(atEnd: AtEnd): Promise<{ readonly url: string; readonly wasAsked: () => boolean }> {
  const sockets: Socket[] = [];
  const server = createServer((socket) => void sockets.push(socket.on("error", () => undefined))).listen(0, "127.0.0.1");
  await once(server, "listening");
  atEnd(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, wasAsked: () => sockets.length > 0 };
}

/** Waits for such a server. */
function network(args: (url: string) => readonly string[], env: (url: string) => NodeJS.ProcessEnv = () => ({})): Prepare {
  return async (_, atEnd) => {
    const { url, wasAsked } = await startSilentServer(atEnd);
    return { args: args(url), env: env(url), busy: wasAsked };
  };
}

/** Waits for a new version to become ready; the one that serves does not answer either. */
const deploy: Prepare = async (_, atEnd) => {
  const { url } = await startSilentServer(atEnd);
  const project = await startPretendCompose(url);
  atEnd(async () => await project.close());
  const [v1, v2] = ["1", "2"].map((digit) => `sha256:${digit.repeat(64)}`) as [string, string];
  const marks = createMarks(pretendProject);
  project.tag([marks.current, v1], [marks.note("current", "app:v1"), v1], ["app:v2", v2], ["app:latest", v1]);
  project.add(v1);
  const args = ["deploy", "app:v2", "--no-pull", "--dir", project.dir];
  return { args, env: project.env, busy: ({ text }) => /^ok {4}start/m.test(text()) };
};

/** Waits for a git that never ends. */
function slowGit(args: readonly string[], make: (dir: string) => Promise<unknown> = async () => undefined): Prepare {
  return async (dir, atEnd) => {
    await writeFile(join(dir, "dvc.yaml"), "stages:\n  a:\n    cmd: echo a > a\n    outs: [a]\n");
    await mkdir(join(dir, ".dvc"));
    await writeFile(join(dir, ".dvc/config"), "[core]\n    remote = local\n['remote \"local\"']\n    url = ../remote\n");
    await make(dir);
    const started = join(dir, "git-started");
    const env = { PATH: `${join(root, "bin")}:${process.env["PATH"]}`, GIT_STARTED: started };
    atEnd(() => {
      if (existsSync(started)) process.kill(Number(readFileSync(started, "utf8")), "SIGKILL");
    });
    return { args, env, busy: () => existsSync(started) && readFileSync(started, "utf8") !== "" };
  };
}

/** Reads a pipe that has no writer: the reading takes a thread of libuv, for which an exit of Node waits. */
async function pipe(path: string, args: readonly string[], atEnd: AtEnd): Promise<LongWork> {
  execFileSync("mkfifo", [path]);
  const isRead = async (): Promise<boolean> => {
    const writer = await open(path, constants.O_WRONLY | constants.O_NONBLOCK).catch(() => undefined);
    if (writer === undefined) return false;
    atEnd(async () => await writer.close());
    return true;
  };
  return { args, busy: isRead };
}

/** An archive of 8 MB whose one file has 8 GB of zeros, for which tar takes many seconds. */
async function writeLongArchive(path: string): Promise<void> {
  const size = 2 ** 33 - 2 ** 20;
  const header = Buffer.alloc(512);
  const fields = {
    0: "files/volume/zeros",
    100: "0000644",
    108: "0000000",
    116: "0000000",
    124: size.toString(8),
    136: "00000000000",
    156: "0",
  };
  for (const [at, text] of Object.entries(fields)) header.write(text, Number(at));
  header.write("ustar\x0000", 257);
  header.fill(" ", 148, 156);
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148);
  const zeros = gzipSync(Buffer.alloc(2 ** 20));
  // Compressed pieces may follow each other. Two blocks of zeros end the archive.
  await writeFile(path, Buffer.concat([gzipSync(header), ...Array.from({ length: size / 2 ** 20 + 1 }, () => zeros)]));
}

const works: Readonly<Record<string, Prepare>> = {
  data: network((url) => ["data", "import", `${url}/set.zip`]),
  backbones: network(
    () => ["backbones", "add", "hf:owner/name@v1"],
    (url) => ({ HF_ENDPOINT: url }),
  ),
  monitor: network(
    () => ["monitor", "--model", "models:/colours@champion"],
    (url) => ({ MLFLOW_TRACKING_URI: url }),
  ),
  evaluate: async (dir, atEnd) => {
    await writeTinyBundle(join(dir, "models/colours"));
    return await network((url) => ["evaluate", "--model", "models/colours", "--data", `${url}/set.zip`])(dir, atEnd);
  },
  predict: async (dir, atEnd) => {
    await writeTinyBundle(join(dir, "models/colours"));
    return await pipe(join(dir, "a.jpg"), ["predict", "a.jpg"], atEnd);
  },
  score: async (dir, atEnd) => {
    await writeTinyBundle(join(dir, "models/colours"));
    const env = (url: string): NodeJS.ProcessEnv => ({ AWS_ENDPOINT_URL: url, AWS_ACCESS_KEY_ID: "a", AWS_SECRET_ACCESS_KEY: "b" });
    return await network(() => ["score", "s3://data/photos", "--out", "scores.csv"], env)(dir, atEnd);
  },
  prepare: async (dir, atEnd) => {
    await writePatternSet(join(dir, "patterns"));
    await mustRun(dir, ["data", "import", "patterns"]);
    const manifest = await readFile(join(dir, "data/raw/manifest.jsonl"), "utf8");
    const { path } = JSON.parse(manifest.split("\n")[0] ?? "") as { path: string };
    await rm(join(dir, "data/raw", path));
    return await pipe(join(dir, "data/raw", path), ["prepare"], atEnd);
  },
  export: network(
    () => ["export", "--format", "onnx", "--model", "models:/colours@champion"],
    (url) => ({ MLFLOW_TRACKING_URI: url }),
  ),
  models: network(
    () => ["models", "show", "models:/colours"],
    (url) => ({ MLFLOW_TRACKING_URI: url }),
  ),
  "check-backup": async (dir) => {
    await writeLongArchive(join(dir, "backup.tar.gz"));
    // tar, which reads the archive, is its child.
    const busy: LongWork["busy"] = ({ child: { pid } }) => readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8") !== "";
    return { args: ["check-backup", "backup.tar.gz"], busy };
  },
  predictions: network(
    () => ["predictions", "export"],
    (url) => ({ SERVAL_PREDICTIONS_URL: `${url.replace("http:", "postgres:")}/predictions` }),
  ),
  deploy,
  smoke: network((url) => ["smoke", url, "--wait", "60"]),
  status: async (dir) => {
    const stages = Array.from({ length: 20_000 }, (_, i) => `  s${i}:\n    cmd: echo ${i}\n    outs: [out/${i}]\n`);
    await writeFile(join(dir, "dvc.yaml"), `stages:\n${stages.join("")}`);
    return { args: ["status"], busy: ({ child }) => processorSeconds(child.pid ?? 0) > 0.6 };
  },
  add: slowGit(["add", "a.txt"], async (dir) => await writeFile(join(dir, "a.txt"), "a")),
  checkout: slowGit(["checkout"]),
  push: slowGit(["push"]),
  pull: slowGit(["pull"]),
  gc: slowGit(["gc", "--workspace", "--force"]),
  params: slowGit(["params", "diff"]),
  metrics: slowGit(["metrics", "diff"]),
  plots: slowGit(["plots", "diff"]),
  lineage: slowGit(["lineage", "models/colours"], async (dir) => await writeTinyBundle(join(dir, "models/colours"))),
  track: async (_, atEnd) => ({
    args: ["track", "--port", "0"],
    // A request whose body never comes.
    busy: async (serval) => {
      const [, port] = await serval.waitFor(/http:\/\/127\.0\.0\.1:(\d+)/);
      const socket = connect(Number(port), "127.0.0.1").on("error", () => undefined);
      atEnd(() => socket.destroy());
      return await new Promise((resolve) =>
        socket.write("POST /api/2.0/mlflow/runs/create HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 100\r\n\r\n{", () => resolve(true)),
      );
    },
  }),
};

function processorSeconds(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8")
    .replace(/^.*\) /, "")
    .split(" ");
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

async function startWork(name: string, prepare: Prepare, atEnd: AtEnd): Promise<ServalProcess> {
  const dir = await mkdtemp(join(root, `${name}-`));
  const { args, env = {}, busy } = await prepare(dir, atEnd);
  const serval = startServal(dir, args, env);
  atEnd(() => serval.child.kill("SIGKILL"));
  await vi.waitUntil(async () => serval.child.exitCode === null && (await busy(serval)), { interval: 20, timeout: 20_000 });
  return serval;
}

test("every verb is here, except for those that take the time their own work needs, and one that takes none", () => {
  const verbs = Object.entries(VERBS).map(([name, { onStop }]) => (onStop === "finish" ? "" : name));
  expect([...Object.keys(works), "init"].sort()).toEqual(verbs.filter(Boolean).sort());
  expect(Object.keys(VERBS).filter((name) => VERBS[name]?.onStop === "finish")).toEqual(["up", "train", "repro", "serve"]);
});

test.concurrent.for(Object.entries(works))(
  "SIGTERM ends serval %s within two seconds, in the middle of its work",
  busyMachine,
  async ([name, prepare], { onTestFinished }) => {
    const serval = await startWork(name, prepare, (clean) => onTestFinished(async () => void (await clean())));
    const startedAt = performance.now();
    const { code } = await serval.stop();
    expect(performance.now() - startedAt).toBeLessThan(limitMs);
    const byItself = name === "track" ? "0" : "130";
    expect(VERBS[name]?.onStop === "end" ? ["SIGTERM"] : ["SIGTERM", byItself]).toContain(String(code ?? serval.child.signalCode));
  },
);

test("a verb that stops in time says so, and Ctrl-C does the same", async ({ onTestFinished }) => {
  const serval = await startWork("interrupted", works["data"] as Prepare, (clean) => onTestFinished(async () => void (await clean())));
  const { code, stderr } = await serval.stop("SIGINT");
  expect([code, stderr]).toEqual([130, expect.stringMatching(/^E_INTERRUPTED: /m)]);
});

test("a deploy that stops leaves what serves, and says what that is and what puts the rest right", async ({ onTestFinished }) => {
  const serval = await startWork("deploy-stopped", deploy, (clean) => onTestFinished(async () => void (await clean())));
  const { code, stdout, stderr } = await serval.stop("SIGINT");
  expect([code, stdout]).toEqual([130, expect.stringMatching(/^FAIL {2}ready .*Stopped by SIGINT\./m)]);
  expect(stdout).toMatch(/\nStopped before the end\.\n$/);
  expect(stderr).toContain(
    'E_INTERRUPTED: Stopped by SIGINT during the step "ready". app:v1 serves. app:v2 was started beside it and gets no requests.\n',
  );
  expect(stderr).toContain("The next `serval deploy VERSION`, or `serval deploy --undo`, removes what did not pass its checks.");
});

test("a second signal ends at once what waits for a service's last answers", busyMachine, async () => {
  const dir = await mkdtemp(join(root, "serving-"));
  await writeTinyBundle(join(dir, "models/colours"));
  const serval = startServal(dir, ["serve", "--port", "0"], { SERVAL_DRAIN_MS: "60000" });
  const url = await serval.address();
  expect(
    (await fetch(`${url}/predict`, { method: "POST", body: await colourPicture("red"), headers: { "content-type": "image/jpeg" } })).status,
  ).toBe(200);
  serval.child.kill("SIGTERM");
  await expect.poll(async () => (await fetch(`${url}/health/ready`)).status).toBe(503);
  const startedAt = performance.now();
  await serval.stop("SIGTERM");
  expect(performance.now() - startedAt).toBeLessThan(limitMs);
  expect(serval.child.signalCode).toBe("SIGTERM");
});
