import { spawn, type ChildProcess } from "node:child_process";
import { basename } from "node:path";
import { createInterface } from "node:readline";
import { ServalError } from "../../errors/serval-error.ts";

export interface CommandOptions {
  readonly cwd: string;
  readonly shell: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly outputToStderr: boolean;
  readonly signal?: AbortSignal | undefined;
  /** Gets each line; without it the command writes to this process's own streams. */
  readonly onLine?: ((line: string) => void) | undefined;
  readonly onCommand: (command: string) => void;
}

/** Command lines of a stage: a string of several lines is run line by line, as DVC does. */
function commandLines(cmd: string | readonly string[]): readonly string[] {
  return typeof cmd === "string" ? cmd.split(/\r?\n/).filter((line) => line.trim() !== "") : cmd;
}

/**
 * Runs command lines one after the other until one fails. When the signal aborts, what runs is told by SIGTERM and its end is
 * awaited, so that a training can save its checkpoint. Throws E_STAGE_FAILED, and the signal's reason.
 */
export async function runCommands(stage: string, cmd: string | readonly string[], options: CommandOptions): Promise<void> {
  for (const line of commandLines(cmd)) {
    options.signal?.throwIfAborted();
    options.onCommand(line);
    const { code, signal } = await runCommand(line, options);
    options.signal?.throwIfAborted();
    if (code === 0) continue;
    const how = signal === null ? `ended with ${code}` : `was killed by ${signal}`;
    throw new ServalError("E_STAGE_FAILED", `Stage "${stage}": the command \`${line}\` ${how}.`);
  }
}

function runCommand(line: string, options: CommandOptions): Promise<{ code: number | null; signal: NodeJS.Signals | null }> {
  const { cwd, shell, env, onLine } = options;
  // No configuration of the user's shell, which would make runs differ between people.
  const flags = { bash: ["--noprofile", "--norc"], zsh: ["--no-rcs"] }[basename(shell)] ?? [];
  // A separate process group: a signal reaches all of it, and a Ctrl-C of the terminal reaches it once, from here.
  const child = spawn(shell, [...flags, "-c", line], {
    cwd,
    env,
    detached: true,
    stdio: ["ignore", onLine ? "pipe" : options.outputToStderr ? 2 : "inherit", onLine ? "pipe" : "inherit"],
  });
  for (const stream of [child.stdout, child.stderr]) if (stream && onLine) createInterface({ input: stream }).on("line", onLine);
  const stop = (): void => signalGroup(child, "SIGTERM");
  const kill = (): void => signalGroup(child, "SIGKILL");
  options.signal?.addEventListener("abort", stop, { once: true });
  // Somebody who presses Ctrl-C twice wants it to end now.
  process.once("exit", kill);
  return new Promise<{ code: number | null; signal: NodeJS.Signals | null }>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code, signal) => resolve({ code, signal }));
  }).finally(() => {
    options.signal?.removeEventListener("abort", stop);
    process.removeListener("exit", kill);
  });
}

function signalGroup(child: ChildProcess, signal: NodeJS.Signals): void {
  if (child.pid === undefined || child.exitCode !== null) return;
  try {
    process.kill(-child.pid, signal);
  } catch {
    // It ended in the meantime.
  }
}
