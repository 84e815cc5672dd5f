import { availableParallelism } from "node:os";
import { InvalidArgumentError } from "commander";
import type { StageEvent } from "../../../pipeline/run/reproduce.ts";
import { reproducePipeline } from "../../../workflows/pipeline/reproduce-pipeline.ts";
import type { Configure } from "../../command.ts";
import { printStageEvent } from "../../describe/stage-event.ts";
import { addFollowLinkFlag, type FollowLinkFlag } from "../../options/follow-link.ts";

interface ReproFlags extends FollowLinkFlag {
  readonly jobs: number;
  readonly dry?: boolean;
  readonly force?: boolean;
  readonly singleItem?: boolean;
  readonly downstream?: boolean;
  readonly pipeline?: boolean;
  readonly glob?: boolean;
  readonly keepGoing?: boolean;
  readonly allowMissing?: boolean;
  readonly pull?: boolean;
  readonly json?: boolean;
}

export const configure: Configure = (command, context) => {
  addFollowLinkFlag(command.argument("[TARGETS...]", "stages, dvc.yaml files or outs, with all that they read from (default: all stages)"))
    .option("-j, --jobs <N>", "stages that may run at once; with more than one, each line of output names its stage", readJobs, 1)
    .option("--dry", "show what would run, without changing anything")
    .option("-f, --force", "run stages that are up to date as well")
    .option("-s, --single-item", "only the targets themselves, not what they read from")
    .option("--downstream", "the targets and all that reads from them, not what they read from")
    .option("-p, --pipeline", "all stages that the targets are connected with")
    .option("--glob", 'targets are patterns of names of stages, such as "train*"')
    .option("-k, --keep-going", "after a failure, run what does not depend on it")
    .option("--allow-missing", "do not run stages only because data is not there that dvc.lock knows")
    .option("--pull", "bring recorded data that the cache lacks from the remotes")
    .option("--json", "print the result as JSON; output of the stages goes to stderr")
    .action(async (targets: string[], { json = false, ...flags }: ReproFlags) => {
      const output = context.output({ json });
      const startedAt = performance.now();
      const onEvent = (event: StageEvent): void => printStageEvent(output, event, flags.jobs > 1);
      const shared = { cwd: context.cwd, reporter: output, signal: context.signal };
      const results = await reproducePipeline({ ...shared, targets, ...flags, outputToStderr: json, onEvent });
      const seconds = ((performance.now() - startedAt) / 1000).toFixed(1);
      const due = results.filter(({ action }) => action !== "unchanged").length;
      const stages = `${results.length} stage${results.length === 1 ? "" : "s"}`;
      const text =
        due === 0
          ? `Everything is up to date: ${stages} checked in ${seconds} s.`
          : `${due} of ${stages} ${flags.dry ? "would run" : "brought up to date"} in ${seconds} s.`;
      output.result(results, text);
    });
};

function readJobs(text: string): number {
  const jobs = Number(text);
  if (!Number.isInteger(jobs) || jobs < 1)
    throw new InvalidArgumentError(`Expected a whole number from 1 on, such as ${availableParallelism()}.`);
  return jobs;
}
