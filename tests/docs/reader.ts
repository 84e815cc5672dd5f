import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { freePort } from "../helpers/free-port.ts";
import { findBlock, placeOf, root, type Block } from "./blocks.ts";

/** The longest that a reader waits for a block. */
const patienceMs = 180_000;
interface Ports {
  readonly service: string;
  readonly tracking: string;
}
const documentedPorts: Ports = { service: "8000", tracking: "5001" };

/** A command that runs until it is stopped. The reader opens a second terminal for what comes after it. */
const servesUntilStopped = /(^|[\s;{])(serval (serve|up|track)|npm (start|run serval -- (serve|up|track))|mlflow server|docker run)\b/;
const trackingServer = /(serval (-- )?track|mlflow server)\b/;

export interface Following {
  /** What the reader writes for what a block leaves open: ACCOUNT, a name of a file. */
  readonly put?: Readonly<Record<string, string>>;
  /** Commands that the page took for done: a service that runs. */
  readonly before?: string;
  readonly env?: Readonly<Record<string, string>>;
}

/** Someone in a folder who does what the pages say, with bash, block after block. */
export class Reader {
  readonly dir: string;
  readonly #ports: Ports;
  readonly #env: NodeJS.ProcessEnv;
  /** What is written here in place of what the pages write. */
  readonly #rewrite: (text: string) => string;

  private constructor(dir: string, ports: Ports, env: NodeJS.ProcessEnv, rewrite: (text: string) => string) {
    this.dir = dir;
    this.#ports = ports;
    this.#env = env;
    this.#rewrite = rewrite;
  }

  /** The services of the pages get free ports, in place of 8000 and 5001. */
  static async in(dir: string): Promise<Reader> {
    const ports = { service: String(await freePort()), tracking: String(await freePort()) };
    const rewrite = (text: string): string => text.replaceAll(/\b8000\b/g, ports.service).replaceAll(/\b5001\b/g, ports.tracking);
    return new Reader(dir, ports, { ...readersEnvironment(), SERVAL_PORT: ports.service }, rewrite);
  }

  /** Has a container engine, whose services listen where the pages say, and docker-compose 1, which wants to be told that there is no terminal. */
  static withEngine(dir: string, env: Readonly<Record<string, string>>): Reader {
    const rewrite = (text: string): string =>
      text.replaceAll("docker compose exec", "docker-compose exec -T").replaceAll("docker compose", "docker-compose");
    return new Reader(dir, documentedPorts, { ...readersEnvironment(), ...env }, rewrite);
  }

  /** Runs the block of a page whose first line begins so, to its end, and gives what it printed. Throws where a command fails. */
  async follow(page: string, begins: string, { put = {}, before = "", env = {} }: Following = {}): Promise<string> {
    const block = findBlock(page, begins);
    const text = Object.entries(put).reduce((changed, [open, value]) => {
      if (!changed.includes(open)) throw new Error(`${placeOf(block)} does not leave open what the test puts there: ${open}`);
      return changed.replaceAll(open, value);
    }, block.lines.join("\n"));
    return await this.#run(`${placeOf(block)} fails as written`, `${before}\n${text}`, env);
  }

  /** Runs what a page says in words. */
  async do(commands: string): Promise<string> {
    return await this.#run("What the page says in words fails", commands, {});
  }

  async #run(failure: string, text: string, env: Readonly<Record<string, string>>): Promise<string> {
    // It would empty the node_modules that the clone shares with this one.
    if (/^[^#\n]*(\bnpm ci\b|\bsetup\.sh\b)/m.test(text)) throw new Error("npm ci is run by .ci/run; the test has to leave it out");
    const notes = await mkdtemp(join(tmpdir(), "serval-reader-"));
    const groups = join(notes, "groups");
    const script = scriptOf(this.#rewrite(text), this.#ports);
    const child = spawn("bash", ["-c", script], {
      cwd: this.dir,
      env: { ...this.#env, ...env, READER_GROUPS: groups },
      detached: true,
      stdio: ["ignore", "pipe", "pipe"],
    });
    let output = "";
    for (const stream of [child.stdout, child.stderr]) stream.setEncoding("utf8").on("data", (chunk: string) => (output += chunk));
    const killAll = async (): Promise<void> => {
      const started = (await readFile(groups, "utf8").catch(() => "")).split("\n").filter(Boolean).map(Number);
      for (const group of [child.pid ?? 0, ...started]) endGroup(group);
    };
    const late = setTimeout(() => void killAll(), patienceMs);
    const [code, signal] = (await once(child, "close")) as [number | null, NodeJS.Signals | null];
    clearTimeout(late);
    await killAll();
    await rm(notes, { recursive: true });
    if (code === 0) return output;
    throw new Error(`${failure}, in ${this.dir}: it ended with ${code ?? signal}\n${text}\n\nIt printed:\n${output}`);
  }
}

function endGroup(group: number): void {
  try {
    if (group > 1) process.kill(-group, "SIGKILL");
  } catch {
    // It has ended by itself.
  }
}

/** That of a terminal: nothing of the test run, of npm or of this repository. */
function readersEnvironment(): NodeJS.ProcessEnv {
  const own = Object.entries(process.env).filter(
    ([name]) => !/^(SERVAL|MLFLOW|AWS|VITEST|NODE_(ENV|V8_COVERAGE)|INIT_CWD|npm_(?!config_)|npm_config_local)/.test(name),
  );
  const path = (process.env["PATH"] ?? "").split(delimiter).filter((folder) => !folder.startsWith(join(root, "node_modules")));
  return {
    ...Object.fromEntries(own),
    PATH: path.join(delimiter),
    GIT_AUTHOR_NAME: "Reader",
    GIT_AUTHOR_EMAIL: "reader@example.com",
    GIT_COMMITTER_NAME: "Reader",
    GIT_COMMITTER_EMAIL: "reader@example.com",
    npm_config_audit: "false",
    npm_config_fund: "false",
    npm_config_update_notifier: "false",
    SERVAL_DRAIN_MS: "0",
  };
}

/** A service gets a separate process group, is waited for until it answers, and stopped at the end of the block as Ctrl-C would. */
function scriptOf(text: string, ports: Ports): string {
  const commands = text.replaceAll(/\\\n\s*/g, "").split("\n");
  const written = commands.map((line) => {
    const [, command = "", background] = /^(.*?)\s*(&)?\s*(?:\s#.*)?$/.exec(line) ?? [];
    if (!servesUntilStopped.test(command)) return line;
    const port = trackingServer.test(command) ? ports.tracking : ports.service;
    const placed = /serval (-- )?track$/.test(command) && background === undefined ? `${command} --port ${port}` : command;
    return `set -m; { ${placed}; } & set +m; reader_waits $! ${port}`;
  });
  return `set -eo pipefail
touch "$READER_GROUPS"
reader_waits() { # GROUP PORT
  echo "$1" >> "$READER_GROUPS"
  until curl --silent --output /dev/null --fail "http://127.0.0.1:$2/health"; do
    kill -0 "$1" 2>/dev/null || { echo "It ended before it answered."; return 1; }
    sleep 0.1
  done
}
reader_stops() {
  local status=$? group
  while read -r group; do
    kill -INT -- "-$group" 2>/dev/null && wait "$group" || true
  done < "$READER_GROUPS"
  exit "$status"
}
trap reader_stops EXIT
${written.join("\n")}
`;
}

/**
 * Whether the output holds the lines that a page shows, in their order. What varies from run to run is left out: every word with a digit,
 * such as times, figures, addresses and versions.
 */
export function shows(output: string, shown: Block): string | undefined {
  const lines = (text: string): string[] => text.split("\n").map(steady);
  const printed = lines(output);
  let from = 0;
  for (const line of shown.lines) {
    const expected = steady(line);
    if (expected === "") continue;
    const at = printed.indexOf(expected, from);
    if (at < 0) return `${placeOf(shown)} shows a line that was not printed, or not there:\n  ${line}\nIt printed:\n${output}`;
    from = at + 1;
  }
  return undefined;
}

function steady(line: string): string {
  return line
    .replaceAll(/[^\s,;:()"]*\d[^\s,;:()"]*/g, "#")
    .replaceAll(/\s+/g, " ")
    .trim();
}
