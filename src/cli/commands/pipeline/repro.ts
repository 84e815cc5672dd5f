import { availableParallelism } from "node:os";
import { InvalidArgumentError } from "commander";
import { commandEnvironment, stateDirectory } from "../../../config/env.ts";
import { ServalError } from "../../../errors/serval-error.ts";
import { ensureDvcFolder } from "../../../pipeline/run/add-data.ts";
import { reproduce, type StageEvent } from "../../../pipeline/run/reproduce.ts";
import { loadWorkspace } from "../../../pipeline/run/workspace.ts";
import type { Configure } from "../../command.ts";
import { withCache } from "../../data-cache.ts";
import { addFollowLinkFlag, allowLinks, type FollowLinkFlag } from "../../follow-link.ts";
import { formatDuration, type Output } from "../../output.ts";

interface ReproOptions extends FollowLinkFlag {
  readonly jobs: number;
  readonly dry?: boolean;
  readonly force?: boolean;
  readonly singleItem?: boolean;
  readonly json?: boolean;
}

export const configure: Configure = (command, context) => {
  addFollowLinkFlag(command.argument("[TARGETS...]", "stages, dvc.yaml files or outs, with all that they read from (default: all stages)"))
    .option("-j, --jobs <N>", "stages that may run at once; with more than one, each line of output names its stage", readJobs, 1)
    .option("--dry", "say what would run, and change nothing")
    .option("-f, --force", "run stages that are up to date as well")
    .option("-s, --single-item", "only the targets themselves, not what they read from")
    .option("--json", "print the result as JSON; output of the stages goes to stderr")
    .action(async (targets: string[], options: ReproOptions) => {
      const output = context.output(options);
      const startedAt = performance.now();
      const workspace = await loadWorkspace(context.cwd);
      if (workspace.graph.stages.length === 0) {
        throw new ServalError("E_PIPELINE", `There is no dvc.yaml with stages in "${context.cwd}".`, {
          hint: "`serval init` writes one for labelled images.",
        });
      }
      await ensureDvcFolder(context.cwd);
      await allowLinks(context.cwd, options);
      const results = await withCache(context, stateDirectory(), output, (cache) =>
        reproduce(workspace, cache, {
          targets,
          jobs: options.jobs,
          dry: options.dry ?? false,
          force: options.force ?? false,
          singleItem: options.singleItem ?? false,
          ...commandEnvironment(),
          outputToStderr: options.json ?? false,
          signal: context.signal,
          onEvent: (event) => report(output, event, options.jobs > 1),
        }),
      );
      const seconds = ((performance.now() - startedAt) / 1000).toFixed(1);
      const due = results.filter(({ action }) => action !== "unchanged").length;
      const stages = `${results.length} stage${results.length === 1 ? "" : "s"}`;
      const text =
        due === 0
          ? `All is up to date: ${stages} checked in ${seconds} s.`
          : `${due} of ${stages} ${options.dry ? "would run" : "brought up to date"} in ${seconds} s.`;
      output.result(results, text);
    });
};

function readJobs(text: string): number {
  const jobs = Number(text);
  if (!Number.isInteger(jobs) || jobs < 1)
    throw new InvalidArgumentError(`Expected a whole number from 1 on, such as ${availableParallelism()}.`);
  return jobs;
}

function report(output: Output, event: StageEvent, parallel: boolean): void {
  if (event.type === "data") {
    output.line(`${event.source}: ${event.path} changed; its new version is recorded.`);
    return;
  }
  const name = event.stage.address;
  const because = "reasons" in event ? event.reasons.join("; ") : "";
  switch (event.type) {
    case "unchanged":
      return output.line(`${name}: up to date`);
    case "waiting":
      return output.warn(`${name}: waiting for another \`serval repro\` that works on it, or on what it reads`);
    case "restored":
      return output.line(`${name}: its outs are in the cache from an earlier run; not run again (${because})`);
    case "recorded":
      return output.line(`${name}: as recorded; put into the cache again (${because})`);
    case "would run":
      return output.line(`${name}: would run, because ${because}`);
    case "running":
      return output.line(`${name}: runs, because ${because}`);
    case "command":
      return output.line(parallel ? `${name} | > ${event.text}` : `> ${event.text}`);
    case "line":
      return output.line(`${name} | ${event.text}`);
    case "abandoned":
      return output.warn(`${name}: ending what a killed \`serval repro\` left running: process ${event.text}`);
    case "ran":
      return output.line(`${name}: done in ${formatDuration(event.seconds)}`);
  }
}
