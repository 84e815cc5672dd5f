import { Option } from "commander";
import { loadParams } from "../../../config/params.ts";
import { ServalError } from "../../../errors/serval-error.ts";
import { findRate } from "../../../workflows/model/find-rate.ts";
import { trainModel } from "../../../workflows/model/train-model.ts";
import type { Configure } from "../../command.ts";
import { describeRate, describeTraining } from "../../describe/training.ts";
import { addFollowLinkFlag, type FollowLinkFlag } from "../../options/follow-link.ts";

interface TrainFlags extends FollowLinkFlag {
  readonly resume?: boolean | string;
  readonly checkpointEvery?: number;
  readonly findLr?: boolean;
  readonly set?: string[];
  readonly json?: boolean;
}

export const configure: Configure = (command, context) => {
  addFollowLinkFlag(command)
    .option("--resume [RUN]", "continue from the last checkpoint of a run, by default the latest one")
    .option("--checkpoint-every <STEPS>", "save a checkpoint after this number of steps as well as every minute", parseSteps)
    .addOption(
      new Option("--find-lr", "run a range test and suggest a learning rate; no model is kept").conflicts(["resume", "checkpointEvery"]),
    )
    .option("--set <KEY=VALUE...>", "override a parameter, such as train.epochs=3")
    .option("--json", "print the result as JSON")
    .action(async (flags: TrainFlags) => {
      const { cwd, signal } = context;
      const { followLink, resume, checkpointEvery: checkpointEverySteps } = flags;
      const params = await loadParams(cwd, flags.set ?? []);
      const output = context.output(flags);
      const shared = { cwd, params, followLink, reporter: output, signal };
      if (flags.findLr) {
        const found = await findRate(shared);
        output.result(found, describeRate(found));
        return;
      }
      const report = await trainModel({ ...shared, resume, checkpointEverySteps });
      output.result(report, describeTraining(report));
    });
};

function parseSteps(text: string): number {
  if (/^[1-9]\d*$/.test(text)) return Number(text);
  throw new ServalError("E_USAGE", `--checkpoint-every: expected a number of steps from 1 on, got ${JSON.stringify(text)}.`);
}
