import { spawn } from "node:child_process";
import { text } from "node:stream/consumers";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";

export const root: string = join(import.meta.dirname, "../..");

export interface Finished {
  readonly code: number | null;
  readonly stdout: string;
  /** Both streams, as a person would see them. */
  readonly output: string;
}

export interface RunOptions {
  readonly input?: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  readonly signal?: AbortSignal;
}

/** Runs a program to its end, whatever the end is. */
export async function run(program: string, args: readonly string[], options: RunOptions = {}): Promise<Finished> {
  const child = spawn(program, args, {
    cwd: options.cwd ?? root,
    env: { ...process.env, DOCKER_BUILDKIT: "1", ...options.env },
    stdio: ["pipe", "pipe", "pipe"],
  });
  // It may end without having read anything.
  child.stdin.on("error", () => undefined);
  child.stdin.end(options.input ?? "");
  let output = "";
  child.stdout.on("data", (chunk) => (output += String(chunk)));
  child.stderr.on("data", (chunk) => (output += String(chunk)));
  const ended = new Promise<number | null>((resolve, reject) => child.once("close", resolve).once("error", reject));
  const [code, stdout] = await Promise.all([ended, text(child.stdout)]);
  return { code, stdout: stdout.trim(), output };
}

/** Runs docker and returns what it printed; throws with its output when it fails. */
export async function docker(...args: readonly string[]): Promise<string> {
  const { code, stdout, output } = await run("docker", args);
  if (code !== 0) throw new Error(`docker ${args.join(" ")} ended with ${code}:\n${output}`);
  return stdout;
}

/** Builds an image from a Dockerfile given as text, on top of images that are there. */
export async function buildImage(tag: string, dockerfile: string, context = "-"): Promise<void> {
  const { code, output } = await run("docker", ["build", "--tag", tag, ...(context === "-" ? ["-"] : ["--file", "-", context])], {
    input: dockerfile,
  });
  if (code !== 0) throw new Error(`docker build ${tag} ended with ${code}:\n${output}`);
}

/** Asks again and again until `get` gives an answer that passes; the engine and Prometheus have no event to wait for. */
export async function eventually<T>(get: () => Promise<T>, passes: (value: T) => boolean, seconds = 60): Promise<T> {
  const deadline = performance.now() + seconds * 1000;
  for (;;) {
    const value = await get().catch((error: unknown) => error as T);
    if (!(value instanceof Error) && passes(value)) return value;
    if (performance.now() > deadline) {
      throw value instanceof Error ? value : new Error(`not within ${seconds} s; last: ${JSON.stringify(value)?.slice(0, 500)}`);
    }
    await delay(250);
  }
}

/** The compose projects of these tests. All use the network mlops-network, so only one may exist at a time. */
export const composeProjects = { compose: "serval-compose-test", deploy: "serval-deploy-test", backup: "serval-backup-test" } as const;

/** Removes what the projects of these tests left on the engine. */
export async function removeComposeProjects(): Promise<void> {
  for (const project of Object.values(composeProjects)) await removeProject(project);
}

/**
 * Removes what a project left on the engine. Called before a suite as well as after it: containers restart with the
 * engine, so those of a run that was killed would hold the ports of the next one and answer by the service's name.
 */
export async function removeProject(project: string): Promise<void> {
  const left = async (kind: string, ...args: string[]): Promise<string[]> => {
    const list = await docker(kind, "ls", "--quiet", "--filter", `label=com.docker.compose.project=${project}`, ...args);
    return list.split("\n").filter((id) => id !== "");
  };
  for (const id of await left("container", "--all")) await docker("container", "rm", "--force", "--volumes", id);
  for (const id of await left("volume")) await docker("volume", "rm", id);
  for (const id of await left("network")) await docker("network", "rm", id);
}

/** Image of the service that the tests run. */
export const serviceImage = "cats-dogs-classifier:latest";

/** Builds it from the repository's own Dockerfile, by the command of docs/deployment.md. */
export async function buildServiceImage(): Promise<void> {
  await docker("build", "-t", serviceImage, ".");
}

/** Prints a figure that a person wants to see beside the result: sizes and times. */
export function report(line: string): void {
  process.stderr.write(`   ${line}\n`);
}
