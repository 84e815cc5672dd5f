import type { Command } from "commander";
import { ServalError } from "../../../errors/serval-error.ts";
import { rollbackModel } from "../../../workflows/registry/rollback-model.ts";
import type { CommandContext } from "../../command.ts";

interface PromoteFlags {
  readonly data?: string;
  readonly force?: boolean;
  readonly reason?: string;
  readonly json?: boolean;
}

export function configurePromote(command: Command, context: CommandContext): void {
  command
    .argument("[NAME[/VERSION]]", "registered model (default: model.name in params.yaml) and version (default: the newest)")
    .option("--data <SOURCE>", "compare on a folder or zip of labelled images instead of the validation split")
    .option("--force", "promote it whatever the comparison says; needs --reason")
    .option("--reason <TEXT>", "why it is forced; recorded on the version")
    .option("--json", "print the result as JSON")
    .action(async (challenger: string | undefined, { data, force = false, reason, json }: PromoteFlags) => {
      if (force !== (reason !== undefined && reason.trim() !== "")) {
        throw new ServalError("E_USAGE", "--force and --reason TEXT go together: what was forced is recorded with its reason.");
      }
      const [, name, version] = /^(?:models:\/+)?([^/@]+)(?:\/([1-9]\d*))?$/.exec(challenger ?? "") ?? [];
      if (challenger !== undefined && name === undefined) {
        throw new ServalError("E_USAGE", `Expected NAME or NAME/VERSION, such as colours/3, got ${JSON.stringify(challenger)}.`);
      }
      const output = context.output({ json });
      const { promoteModel } = await import("../../../workflows/registry/promote-model.ts");
      const { describePromotion } = await import("../../describe/promotion.ts");
      const { cwd, signal } = context;
      const report = await promoteModel({ cwd, name, version, data, force: reason, reporter: output, signal });
      output.result(report, describePromotion(report));
      if (report.refusal !== null && !report.promoted) {
        throw new ServalError("E_PROMOTION_REFUSED", `Version ${report.version} of ${report.name} was not promoted: ${report.refusal}.`);
      }
    });
}

export function configureRollback(command: Command, context: CommandContext): void {
  command
    .argument("[NAME]", "registered model (default: model.name in params.yaml)")
    .option("--reason <TEXT>", "why; recorded on the version that is left")
    .option("--json", "print the result as JSON")
    .action(async (named: string | undefined, { reason, json }: { reason?: string; json?: boolean }) => {
      const { name, standing } = await rollbackModel({ cwd: context.cwd, name: named, reason, signal: context.signal });
      const text = `Version ${standing.champion} of ${name} is the champion again; version ${standing.previous} is the previous one.`;
      context.output({ json }).result({ name, standing }, text);
    });
}
