import { resolve } from "node:path";
import { apiKey, commandEnvironment } from "../../config/env.ts";
import { openComposeTarget, type ComposeTargetOptions } from "../../deploy/compose/compose-target.ts";
import { withDeployLock } from "../../deploy/lock.ts";
import { rollOut, type RolloutReport, type RolloutStep } from "../../deploy/rollout.ts";
import { openStackTarget } from "../../deploy/stack/stack-target.ts";
import type { Standing, Target } from "../../deploy/target.ts";
import { ServalError } from "../../errors/serval-error.ts";
import type { UseCaseOptions } from "../reporter.ts";

/** Places to deploy to, by their name on the command line. */
const targets: Readonly<Record<string, (options: ComposeTargetOptions) => Promise<Target>>> = {
  compose: openComposeTarget,
  stack: openStackTarget,
};

export const targetNames: readonly string[] = Object.keys(targets);

export interface DeployTargetOptions extends UseCaseOptions {
  /** One of `targetNames`. Default: compose. */
  readonly target?: string | undefined;
  /** Folder of the configuration, relative to `cwd`. Default: deployment. */
  readonly dir?: string | undefined;
  /** Time that a version has to become ready. Default: 60. */
  readonly waitSeconds?: number | undefined;
}

export interface DeployServiceOptions extends DeployTargetOptions {
  /** An image, or `undo` for the version that served before. */
  readonly version: string | { readonly undo: true };
  /** False: the image is on this machine already. Default: true. */
  readonly pull?: boolean | undefined;
  /** Model that the version serves. Default: what the configuration names. */
  readonly model?: string | undefined;
  /** Time that the new version is watched beside the old one. Default: 30; for an undo 0. */
  readonly watchSeconds?: number | undefined;
  /** Longest median time of a prediction in the smoke test. Default: 1000. */
  readonly maxLatencyMs?: number | undefined;
  /** Told after each step. */
  readonly onStep?: ((step: RolloutStep) => void) | undefined;
}

export const defaultWatchSeconds = 30;
const defaultWaitSeconds = 60;

/** Replaces the version that serves. What went wrong on the way is in the report; throws E_USAGE and E_DEPLOY_NOT_READY with nothing changed. */
export async function deployService(options: DeployServiceOptions): Promise<RolloutReport> {
  const { version, pull = true, model, maxLatencyMs = 1000, signal, onStep } = options;
  const target = await openTarget(options);
  const watchSeconds = options.watchSeconds ?? (typeof version === "string" ? defaultWatchSeconds : 0);
  const waitMs = 1000 * (options.waitSeconds ?? defaultWaitSeconds);
  return await withDeployLock(
    `${target.name}-${target.lock}`,
    async () => await rollOut(target, { version, pull, model, waitMs, watchSeconds, maxLatencyMs, apiKey: apiKey(), signal, onStep }),
  );
}

/** What serves at a target, and what a deploy would put right first. Changes nothing. */
export async function surveyTarget(options: DeployTargetOptions): Promise<{ readonly target: string; readonly standing: Standing }> {
  const target = await openTarget(options);
  return { target: target.name, standing: await target.survey() };
}

async function openTarget({
  cwd,
  target = "compose",
  dir = "deployment",
  waitSeconds = defaultWaitSeconds,
  signal,
}: DeployTargetOptions): Promise<Target> {
  const open = targets[target];
  if (open === undefined)
    throw new ServalError("E_USAGE", `--target: expected ${targetNames.join(" or ")}, got ${JSON.stringify(target)}.`);
  const { env } = commandEnvironment();
  return await open({ env, cwd, dir: resolve(cwd, dir), waitMs: 1000 * waitSeconds, signal });
}
