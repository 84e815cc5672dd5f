import { describeRelease, findPrevious, type Outcome, type RolloutReport, type RolloutStep } from "../../deploy/rollout.ts";
import type { Standing } from "../../deploy/target.ts";
import { toServalError } from "../../errors/serval-error.ts";

/** One line for a step of `serval deploy`. */
export function describeStep({ name, passed, message, seconds }: RolloutStep): string {
  return `${passed ? "ok  " : "FAIL"}  ${name.padEnd(9)}  ${message}${seconds >= 0.1 ? ` (${seconds} s)` : ""}`;
}

const outcomes: Readonly<Record<Outcome, (report: RolloutReport) => string>> = {
  deployed: ({ serving, seconds }) => `${describeRelease(serving)} serves, after ${seconds} s in all.`,
  refused: ({ version, serving, seconds }) =>
    `${version ?? "The previous version"} does not serve. ${describeRelease(serving)} still serves (${seconds} s).`,
  stopped: () => "Stopped before the end.",
  down: ({ version }) => `${version ?? "The previous version"} does not serve, and no other version does.`,
};

/** What `serval deploy` prints at its end. */
export function describeOutcome(report: RolloutReport): string {
  return outcomes[report.outcome](report);
}

/** What would be deployed. */
export interface PlannedDeploy {
  readonly target: string;
  readonly version: string | undefined;
  readonly model: string | undefined;
  readonly undo: boolean;
  readonly pull: boolean;
}

/** What `serval deploy --dry` prints. */
export function describePlan(standing: Standing, { target, version, model = "", undo, pull }: PlannedDeploy): string {
  const { serving, previous, repaired } = standing;
  const lines = [
    ...repaired.map((line) => `To be put right first. ${line}`),
    `Serving: ${describeRelease(serving)}.`,
    `Before it: ${describeRelease(previous)}${previous?.there === false ? " (its image was removed from this machine)" : ""}.`,
    undo ? describeUndo(standing, pull) : "",
    version === undefined ? "" : `${describeRelease({ version, model })} would be deployed to ${target}.`,
    version === undefined && !undo ? "Name a VERSION to deploy, or --undo." : "",
  ];
  return lines.filter(Boolean).join("\n");
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
