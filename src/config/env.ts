import { lstatSync, mkdirSync } from "node:fs";
import nodeModule from "node:module";
import { homedir } from "node:os";
import { isAbsolute, join } from "node:path";
import { isMainThread } from "node:worker_threads";
import { ServalError } from "../errors/serval-error.ts";
import { defaultStateDir } from "../paths.ts";

/** Variables by name. Reading them costs nothing here; their schemas, which cost a third of a second to load, are in settings.ts. */
export type Environment = Readonly<Record<string, string | undefined>>;

export function environment(): Environment {
  return process.env;
}

/**
 * Later starts find their modules compiled: in the folder that NODE_COMPILE_CACHE names, or else in one that only this user
 * can write. Node runs what it finds there, so a folder that others share would let them plant code; without a folder that
 * is safe nothing is cached. Threads have no such cache unless the variable says so.
 */
export function keepCompiledModules(): void {
  const dir = process.env["NODE_COMPILE_CACHE"] || privateCacheFolder();
  if (dir === undefined) return;
  process.env["NODE_COMPILE_CACHE"] = dir;
  // Node 20 has none, and is told later that it is too old.
  if ("enableCompileCache" in nodeModule) nodeModule.enableCompileCache(dir);
}

/** $XDG_CACHE_HOME/serval/compiled, or the same below ~/.cache; undefined where this user alone cannot write it. */
function privateCacheFolder(): string | undefined {
  const { XDG_CACHE_HOME: cacheHome = "" } = process.env;
  try {
    const dir = join(isAbsolute(cacheHome) ? cacheHome : join(homedir(), ".cache"), "serval");
    mkdirSync(dir, { recursive: true, mode: 0o700 });
    const found = lstatSync(dir);
    // Windows has no such owners and modes; there the folder lies in the user's profile.
    const ours = process.getuid === undefined || (found.uid === process.getuid() && (found.mode & 0o022) === 0);
    return found.isDirectory() && ours ? join(dir, "compiled") : undefined;
  } catch {
    // No home, or one that cannot be written: Serval starts more slowly, and works.
    return undefined;
  }
}

/**
 * Sets a variable for the native libraries of this process. A thread cannot do that, because its `process.env` is a copy that
 * no library sees: there the result is whether the variable has that value already.
 */
export function setNativeVariable(name: string, value: string): boolean {
  if (isMainThread) {
    process.env[name] = value;
    return true;
  }
  // Only the report reads the real environment. With the network in it, it would look up the name of every peer.
  const report: NodeJS.ProcessReport & { excludeNetwork?: boolean } = process.report;
  const { excludeNetwork = false } = report;
  report.excludeNetwork = true;
  const { environmentVariables } = report.getReport() as { environmentVariables: Environment };
  report.excludeNetwork = excludeNetwork;
  return environmentVariables[name] === value;
}

/** Folder for runs and other files that are not results: what SERVAL_STATE_DIR says. */
export function stateDirectory(env: Environment = environment()): string {
  return env["SERVAL_STATE_DIR"]?.trim() || defaultStateDir;
}

/** Whether stack traces are wanted: readable even when another variable is wrong. */
export function debugWanted(env: Environment = environment()): boolean {
  return env["SERVAL_LOG_LEVEL"]?.trim() === "debug";
}

/** What a command that the user wrote runs in: the whole environment, and the user's shell. */
export function commandEnvironment(): { readonly env: Environment; readonly shell: string } {
  const env = environment();
  return { env, shell: env["SHELL"] || "/bin/sh" };
}

/** API key to ask a service with: what SERVAL_API_KEY says. */
export function apiKey(env: Environment = environment()): string | undefined {
  return env["SERVAL_API_KEY"]?.trim() || undefined;
}

/** Address of the MLflow server: what MLFLOW_TRACKING_URI says. */
export function trackingUri(env: Environment = environment()): string | null {
  return env["MLFLOW_TRACKING_URI"]?.trim() || null;
}

/** What helps a decoder process to start, and none of what its parent knows: it opens files from strangers. */
const decoderVariables = ["NODE_COMPILE_CACHE", "NODE_V8_COVERAGE", "LD_LIBRARY_PATH", "SystemRoot"];

/** The environment of a decoder process. */
export function decoderEnvironment(env: Environment = environment()): NodeJS.ProcessEnv {
  const kept = decoderVariables.flatMap((name) => (env[name] === undefined ? [] : [[name, env[name]] as const]));
  // Decoders allocate from several threads; glibc would keep a heap for each.
  return { ...Object.fromEntries(kept), MALLOC_ARENA_MAX: "2" };
}

/** Address of the hub that `hf:OWNER/NAME@REVISION` means: what HF_ENDPOINT says, as in the hub's own clients. */
export function hubEndpoint(env: Environment = environment()): string {
  const text = env["HF_ENDPOINT"]?.trim() || "https://huggingface.co";
  if (!/^https?:$/.test(URL.parse(text)?.protocol ?? "")) {
    throw new ServalError("E_ENV", `HF_ENDPOINT: expected an http(s) address, got ${JSON.stringify(text)}.`);
  }
  return text.endsWith("/") ? text.slice(0, -1) : text;
}
