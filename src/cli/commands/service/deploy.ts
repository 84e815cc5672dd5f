import { resolve } from "node:path";
import { apiKey, commandEnvironment } from "../../../config/env.ts";
import { openComposeTarget, type ComposeTargetOptions } from "../../../deploy/compose/compose-target.ts";
import { withDeployLock } from "../../../deploy/lock.ts";
import { describeRelease, findPrevious, rollOut, type Outcome, type RolloutReport, type RolloutStep } from "../../../deploy/rollout.ts";
import { openStackTarget } from "../../../deploy/stack/stack-target.ts";
import type { Standing, Target } from "../../../deploy/target.ts";
import { ServalError, toServalError, type ErrorCode } from "../../../errors/serval-error.ts";
import type { Configure } from "../../command.ts";
import type { Output } from "../../output.ts";
import { parseAmount } from "../../parse-amount.ts";

/** Places to deploy to, by their name on the command line. */
const targets: Readonly<Record<string, (options: ComposeTargetOptions) => Promise<Target>>> = {
  compose: openComposeTarget,
  stack: openStackTarget,
};

export interface DeployOptions {
  /** Where the programs of the engine run. */
  readonly cwd: string;
  readonly target: string;
  /** Folder of the configuration, absolute. */
  readonly dir: string;
  /** Image; undefined to undo, or to be told only what serves. */
  readonly version: string | undefined;
  readonly undo: boolean;
  readonly pull: boolean;
  readonly model?: string | undefined;
  /** Seconds. */
  readonly wait: number;
  /** Seconds; undefined for the default, which is none for an undo. */
  readonly watch: number | undefined;
  /** Milliseconds. */
  readonly maxLatency: number;
  readonly dry: boolean;
}

interface Flags {
  readonly target: string;
  readonly dir: string;
  readonly undo?: boolean;
  readonly pull: boolean;
  readonly model?: string;
  readonly wait: string;
  readonly watch?: string;
  readonly maxLatency: string;
  readonly dry?: boolean;
  readonly json?: boolean;
}

const defaultWatchSeconds = 30;

export const configure: Configure = (command, context) => {
  command
    .argument("[VERSION]", "image to deploy, such as someone/classifier:COMMIT")
    .option("--target <TARGET>", `where to: ${Object.keys(targets).join(", ")}`, "compose")
    .option("--undo", "go back to the version that served before; after a deploy that was cut short, to what served when it began")
    .option("--no-pull", "take an image that this machine has")
    .option("--model <MODEL>", "model that the version serves, such as models:/NAME/VERSION; it goes back with the version")
    .option("--wait <SECONDS>", "time that a version has to become ready", "60")
    .option("--watch <SECONDS>", `watch the new version so long beside the one before (default: ${defaultWatchSeconds}; 0 for --undo)`)
    .option("--max-latency <MS>", "longest median time of a prediction in the smoke test", "1000")
    .option("--dir <DIR>", "folder of docker-compose.yml, for the target compose", "deployment")
    .option("--dry", "say what serves and what would be done, and change nothing")
    .option("--json", "print the report as JSON")
    .addHelpText("after", exitCodes)
    .action(async (version: string | undefined, flags: Flags) => {
      if (version === undefined ? !flags.undo && !flags.dry : flags.undo) {
        throw new ServalError("E_USAGE", "Name either a VERSION or --undo.");
      }
      if (flags.undo && flags.model !== undefined) {
        throw new ServalError("E_USAGE", "--model goes with a VERSION: --undo goes back to the model that the version before had.");
      }
      const options: DeployOptions = {
        cwd: context.cwd,
        target: flags.target,
        dir: resolve(context.cwd, flags.dir),
        version,
        undo: flags.undo ?? false,
        pull: flags.pull,
        model: flags.model,
        wait: parseAmount("--wait", flags.wait),
        watch: flags.watch === undefined ? undefined : parseAmount("--watch", flags.watch),
        maxLatency: parseAmount("--max-latency", flags.maxLatency),
        dry: flags.dry ?? false,
      };
      await deploy(options, context.output(flags), context.signal);
    });
};

const exitCodes = `
It ends with
  0  the new version serves
  1  the version before serves: the new one cannot be pulled, does not become ready, fails a test, or is worse when watched
  2  nothing was done: the command line, the engine or the configuration is not ready, or another deploy is running
  3  nothing serves: the new version failed, and there is none to go back to, or that one fails too
  130  you stopped it: it says what serves, and the next deploy, or --undo, removes what was not found good
`;

/** Deploys and prints a line for each step. Throws after the report when the version does not serve. */
export async function deploy(options: DeployOptions, output: Output, signal?: AbortSignal): Promise<RolloutReport | undefined> {
  const open = targets[options.target];
  if (open === undefined) {
    throw new ServalError("E_USAGE", `--target: expected ${Object.keys(targets).join(" or ")}, got ${JSON.stringify(options.target)}.`);
  }
  const { env } = commandEnvironment();
  const waitMs = options.wait * 1000;
  const target = await open({ env, cwd: options.cwd, dir: options.dir, waitMs, signal });
  if (options.dry) {
    await describeDry(target, options, output);
    return undefined;
  }
  const report = await withDeployLock(
    `${target.name}-${target.lock}`,
    async () =>
      await rollOut(target, {
        version: options.version ?? { undo: true },
        pull: options.pull,
        model: options.model,
        waitMs,
        watchSeconds: options.watch ?? (options.version === undefined ? 0 : defaultWatchSeconds),
        maxLatencyMs: options.maxLatency,
        apiKey: apiKey(),
        signal,
        onStep: (step) => output.line(describeStep(step)),
      }),
  );
  output.result(report, describeOutcome(report));
  if (report.error) throw asError(report);
  return report;
}

async function describeDry(target: Target, { version, undo, model = "", pull }: DeployOptions, output: Output): Promise<void> {
  const standing = await target.survey();
  const { serving, previous, repaired } = standing;
  const lines = [
    ...repaired.map((line) => `To be put right first. ${line}`),
    `Serving: ${describeRelease(serving)}.`,
    `Before it: ${describeRelease(previous)}${previous?.there === false ? " (its image was removed from this machine)" : ""}.`,
    undo ? describeUndo(standing, pull) : "",
    version === undefined ? "" : `${describeRelease({ version, model })} would be deployed to ${target.name}.`,
    version === undefined && !undo ? "Name a VERSION to deploy, or --undo." : "",
  ];
  const result = { target: target.name, serving, previous, repaired, version: version ?? null, undo };
  output.result(result, lines.filter(Boolean).join("\n"));
}

function describeUndo(standing: Standing, pull: boolean): string {
  if (standing.undone) return `--undo would do that only: ${describeRelease(standing.serving)} serves then.`;
  try {
    const { previous, origin } = findPrevious(standing, pull);
    return `--undo would ${origin === null ? "" : `pull ${origin} and `}go back to ${describeRelease(previous)}.`;
  } catch (error) {
    return `--undo would be refused: ${toServalError(error).message}`;
  }
}

function describeStep({ name, passed, message, seconds }: RolloutStep): string {
  return `${passed ? "ok  " : "FAIL"}  ${name.padEnd(9)}  ${message}${seconds >= 0.1 ? ` (${seconds} s)` : ""}`;
}

const outcomes: Readonly<Record<Outcome, (report: RolloutReport) => string>> = {
  deployed: ({ serving, seconds }) => `${describeRelease(serving)} serves, after ${seconds} s in all.`,
  refused: ({ version, serving, seconds }) =>
    `${version ?? "The version before"} does not serve. ${describeRelease(serving)} goes on serving (${seconds} s).`,
  stopped: () => "Stopped before it was done.",
  down: ({ version }) => `${version ?? "The version before"} does not serve, and no other version does.`,
};

function describeOutcome(report: RolloutReport): string {
  return outcomes[report.outcome](report);
}

/** The report's error, with the code that says what serves now. */
function asError({ outcome, error }: RolloutReport): ServalError {
  const code: ErrorCode = outcome === "down" ? "E_DEPLOY_DOWN" : error?.code === "E_INTERRUPTED" ? "E_INTERRUPTED" : "E_DEPLOY_REFUSED";
  return new ServalError(code, error?.message ?? "", code !== "E_DEPLOY_DOWN" && error ? { hint: error.hint } : {});
}
