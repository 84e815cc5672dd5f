import { spawn } from "node:child_process";
import { ServalError } from "../errors/serval-error.ts";

export interface EngineOptions {
  /** Environment of the programs that are run: PATH, DOCKER_HOST, what the compose file asks for. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Where they run. */
  readonly cwd: string;
}

export interface CommandOptions {
  /** Put over the environment. */
  readonly env?: Readonly<Record<string, string>>;
  /** Also what it wrote to stderr: logs of containers go both ways. */
  readonly both?: boolean;
  /** What the command is called where it fails; default: its first two words. */
  readonly label?: string;
  /** Ends the program. Without it a command runs to its end, so that nothing is left half done. */
  readonly signal?: AbortSignal | undefined;
}

/** The container engine, by its own command line. */
export interface Engine {
  /** What `docker ARGS` printed, trimmed. Throws E_ENGINE_COMMAND with what the engine said. */
  readonly docker: (args: readonly string[], options?: CommandOptions) => Promise<string>;
  /** The same, or null where the engine refuses: asks for what may not be there. */
  readonly ask: (args: readonly string[]) => Promise<string | null>;
  /** `docker compose ARGS`, or `docker-compose ARGS` where the engine has no such plugin. */
  readonly compose: (args: readonly string[], options?: CommandOptions) => Promise<string>;
}

export function createEngine({ env, cwd }: EngineOptions): Engine {
  let composeCommand: Promise<readonly string[]> | undefined;
  const run = async (command: readonly string[], options: CommandOptions = {}): Promise<string> => {
    const { code, stdout, stderr } = await finish(command, { cwd, env: { ...env, ...options.env }, signal: options.signal });
    if (code === 0) return (options.both ? `${stdout}${stderr}` : stdout).trim();
    options.signal?.throwIfAborted();
    const said = (stderr.trim() || stdout.trim()).split("\n").slice(-5).join("\n  ");
    throw new ServalError("E_ENGINE_COMMAND", `${options.label ?? command.slice(0, 2).join(" ")} ended with ${code}: ${said}`, {
      details: { said },
    });
  };
  const docker: Engine["docker"] = async (args, options) => await run(["docker", ...args], options);
  const ask: Engine["ask"] = async (args) =>
    await docker(args).catch((error: unknown) => {
      if (error instanceof ServalError && error.code === "E_ENGINE_COMMAND") return null;
      throw error;
    });
  return {
    docker,
    ask,
    async compose(args, options) {
      composeCommand ??= ask(["compose", "version"]).then((found) => (found === null ? ["docker-compose"] : ["docker", "compose"]));
      return await run([...(await composeCommand), ...args], options);
    },
  };
}

/** The engine's own words in an E_ENGINE_COMMAND; the message of any other error. */
export function whatWasSaid({ details, message }: ServalError): string {
  const said = details["said"];
  return typeof said === "string" ? said : message;
}

interface Finished {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

async function finish(
  [program = "", ...args]: readonly string[],
  options: { readonly cwd: string; readonly env: EngineOptions["env"]; readonly signal: AbortSignal | undefined },
): Promise<Finished> {
  return await new Promise((resolve, reject) => {
    // In a separate process group: Ctrl-C reaches the deploy, which then cleans up with the very commands that it would otherwise end.
    const child = spawn(program, args, { cwd: options.cwd, env: options.env, stdio: ["ignore", "pipe", "pipe"], detached: true });
    let [stdout, stderr] = ["", ""];
    child.stdout.setEncoding("utf8").on("data", (chunk: string) => (stdout += chunk));
    child.stderr.setEncoding("utf8").on("data", (chunk: string) => (stderr += chunk));
    const stop = (): void => void child.kill("SIGTERM");
    options.signal?.addEventListener("abort", stop);
    child.once("error", (cause: NodeJS.ErrnoException) => {
      const text = cause.code === "ENOENT" ? `There is no ${program} on this machine.` : `${program} cannot be run: ${cause.message}.`;
      reject(new ServalError("E_DEPLOY_NOT_READY", text, { cause, hint: "Install Docker Engine with Compose, or correct PATH." }));
    });
    child.once("close", (code) => {
      options.signal?.removeEventListener("abort", stop);
      resolve({ code: code ?? 128, stdout, stderr });
    });
  });
}
