import { enableCompileCache } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** Variables by name. Reading them costs nothing here; their schemas, which cost a third of a second to load, are in settings.ts. */
export type Environment = Readonly<Record<string, string | undefined>>;

export const defaultStateDir = ".serval";

export function environment(): Environment {
  return process.env;
}

/**
 * Later starts find their modules compiled: in the folder that NODE_COMPILE_CACHE names, or else that for temporary files.
 * Threads have no such cache unless the variable says so.
 */
export function keepCompiledModules(): void {
  process.env["NODE_COMPILE_CACHE"] ||= join(tmpdir(), "node-compile-cache");
  enableCompileCache(process.env["NODE_COMPILE_CACHE"]);
}

/** Folder for runs and everything else that is nobody's result: what SERVAL_STATE_DIR says. */
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
