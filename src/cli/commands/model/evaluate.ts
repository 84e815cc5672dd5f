import { Option } from "commander";
import { splitNames, type Split } from "../../../data/split.ts";
import { evaluationDir } from "../../../paths.ts";
import { evaluateModel } from "../../../workflows/model/evaluate-model.ts";
import type { Configure } from "../../command.ts";
import { describeEvaluation } from "../../describe/evaluation.ts";
import { addFollowLinkFlag, type FollowLinkFlag } from "../../options/follow-link.ts";
import { addSourceFlags, type SourceFlags } from "../../options/source-flags.ts";

export const configure: Configure = (command, context) => {
  addSourceFlags(addFollowLinkFlag(command))
    .option("--model <MODEL>", "bundle folder, its model.onnx, a released model's name, or models:/NAME@ALIAS (default: artifacts/best)")
    .option("--data <SOURCE>", "evaluate a folder or zip of labelled images instead of a split")
    .addOption(new Option("--split <SPLIT>", "split of data/processed").choices([...splitNames]).default("test"))
    .option(
      "--out <DIR>",
      `folder for the figures and pictures (default: ${evaluationDir}, with -data or -SPLIT where it is not the test split)`,
    )
    .option("--json", "print the result as JSON")
    .action(
      async ({
        json,
        ...flags
      }: FollowLinkFlag & SourceFlags & { model?: string; data?: string; split: Split; out?: string; json?: boolean }) => {
        const output = context.output({ json });
        const report = await evaluateModel({ cwd: context.cwd, ...flags, reporter: output, signal: context.signal });
        output.result(report, describeEvaluation(report));
      },
    );
};
