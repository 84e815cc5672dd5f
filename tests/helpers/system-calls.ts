import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { text } from "node:stream/consumers";

/** What a program asked of the system: every file or folder that it wrote, and every address that it looked up or connected to. */
export interface SystemCalls {
  readonly written: readonly string[];
  readonly lookedUp: readonly string[];
}

export interface TracedProgram {
  readonly home: string;
  readonly stdout: Promise<string>;
  /** Resolves with the match once stdout or stderr holds one. */
  waitFor(pattern: RegExp): Promise<RegExpExecArray>;
  /** Sends SIGTERM to the program, not to strace. */
  stop(): void;
  /** Waits for the end and reads the trace. */
  ended(): Promise<{ readonly code: number | null; readonly stderr: string; readonly calls: SystemCalls }>;
}

const traced = "open,openat,creat,mkdir,mkdirat,rename,renameat,renameat2,link,linkat,symlink,symlinkat,connect,sendto,sendmmsg";

/**
 * Starts Node with `args` in `cwd` under strace (a package of Debian), all its threads and children included. The program has
 * a fresh home and a fresh folder for temporary files below `dir`, and no variables but PATH and `env`.
 */
export async function traceNode(dir: string, cwd: string, args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<TracedProgram> {
  const [home, temporary, log] = [join(dir, "home"), join(dir, "tmp"), join(dir, "strace.log")];
  for (const folder of [home, temporary]) await mkdir(folder, { recursive: true });
  const strace = ["-f", "--seccomp-bpf", "-qq", "-y", "-s", "4096", "-e", `trace=${traced}`, "-e", "signal=none", "-o", log];
  const child = spawn("strace", [...strace, process.execPath, ...args], {
    cwd,
    env: { PATH: process.env["PATH"], HOME: home, TMPDIR: temporary, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const signal = (name: NodeJS.Signals): void => {
    const [pid = ""] = readFileSync(`/proc/${child.pid}/task/${child.pid}/children`, "utf8").split(" ");
    if (pid !== "") process.kill(Number(pid), name);
  };
  // A test that fails before it stops its program must not leave it running.
  const abandon = (): void => signal("SIGKILL");
  process.once("exit", abandon);
  child.once("exit", () => process.off("exit", abandon));
  const stdout = text(child.stdout);
  const stderr = text(child.stderr);
  const closed = once(child, "close") as Promise<[number | null]>;
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk: Buffer) => (output += chunk.toString()));
  return {
    home,
    stdout,
    waitFor: async (pattern) => {
      let match = pattern.exec(output);
      while (match === null) {
        await Promise.race([once(child.stdout, "data"), once(child.stderr, "data"), closed]);
        match = pattern.exec(output);
        if (match === null && child.exitCode !== null) throw new Error(`${args.join(" ")} ended before it printed ${pattern}:\n${output}`);
      }
      return match;
    },
    stop: () => signal("SIGTERM"),
    ended: async () => {
      const [code] = await closed;
      return { code, stderr: await stderr, calls: readCalls(await readFile(log, "utf8")) };
    },
  };
}

function readCalls(log: string): SystemCalls {
  const written = new Set<string>();
  const lookedUp = new Set<string>();
  for (const line of log.split("\n")) {
    const [, name = "", rest = ""] = /^\d+ +(\w+)\((.*)$/.exec(line) ?? [];
    const paths = [...rest.matchAll(/(?:(?:AT_FDCWD|\d+)<([^>]*)>, )?"([^"]*)"/g)].map(([, folder = "", path = ""]) =>
      join(path.startsWith("/") ? "" : folder, path),
    );
    if (name === "connect" || name.startsWith("send")) {
      if (/AF_INET/.test(rest) && !/inet_addr\("127\.|"::1"/.test(rest)) lookedUp.add(line);
    } else if (name.startsWith("open")) {
      // A look-up reads these first, whether or not there is a network; loading a resolver reads only /etc/resolv.conf.
      if (/\/etc\/(hosts|host\.conf|gai\.conf)$/.test(paths[0] ?? "")) lookedUp.add(line);
      if (/O_WRONLY|O_RDWR|O_CREAT/.test(rest) && !/ = -1 /.test(rest)) written.add(paths[0] ?? line);
    } else if (name !== "" && !/ = -1 /.test(rest)) written.add(paths.at(-1) ?? line);
  }
  return { written: [...written].filter((path) => !/^\/(dev|proc)\//.test(path)), lookedUp: [...lookedUp] };
}
