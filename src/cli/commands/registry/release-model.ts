import type { Command } from "commander";
import { evaluationDir, trainedModelDir } from "../../../paths.ts";
import type { CommandContext } from "../../command.ts";
import { addFollowLinkFlag, type FollowLinkFlag } from "../../options/follow-link.ts";

export function configureRegister(command: Command, context: CommandContext): void {
  command
    .argument("[BUNDLE]", "bundle folder", trainedModelDir)
    .option("--name <NAME>", "name in the registry (default: the model's name)")
    .option("--json", "print the result as JSON")
    .action(async (bundle: string, { name, json }: { name?: string; json?: boolean }) => {
      const output = context.output({ json });
      const { registerModel } = await import("../../../workflows/registry/register-model.ts");
      const { describeRegistered } = await import("../../describe/models.ts");
      const registered = await registerModel({ cwd: context.cwd, bundle, name, reporter: output, signal: context.signal });
      output.result(registered, describeRegistered(registered));
    });
}

interface ReleaseFlags extends FollowLinkFlag {
  readonly name?: string;
  readonly evaluation: string;
  readonly knownFailures?: string;
  readonly json?: boolean;
}

export function configureRelease(command: Command, context: CommandContext): void {
  addFollowLinkFlag(command)
    .argument("[BUNDLE]", "bundle folder", trainedModelDir)
    .option("--name <NAME>", "folder under models/ (default: the model's name)")
    .option("--evaluation <DIR>", "its evaluation on the test split, for the model card", evaluationDir)
    .option("--known-failures <FILE>", "Markdown for the model card: what the model gets wrong, as seen by a person")
    .option("--json", "print the result as JSON")
    .action(async (bundle: string, { json, ...flags }: ReleaseFlags) => {
      const output = context.output({ json });
      const { releaseModel } = await import("../../../workflows/registry/release-model.ts");
      const { describeReleased } = await import("../../describe/models.ts");
      const released = await releaseModel({ cwd: context.cwd, bundle, ...flags, reporter: output, signal: context.signal });
      output.result(released, describeReleased(released));
    });
}
