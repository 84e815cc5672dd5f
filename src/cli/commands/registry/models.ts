import type { Command } from "commander";
import type { CommandContext, Configure } from "../../command.ts";
import { configurePromote, configureRollback } from "./promote-model.ts";
import { configureRegister, configureRelease } from "./release-model.ts";

// Schemas, engine and pictures take a second to load: they are imported where they are needed, and a rollback needs none.
export const configure: Configure = (command, context) => {
  configureList(command.command("list").description("List the released models, and those of the registry."), context);
  configureShow(command.command("show").description("Show what a model is, and where it comes from."), context);
  configureRelease(command.command("release").description("Copy a bundle to models/ when its checks pass."), context);
  configureRegister(command.command("register").description("Make a bundle a version in the registry when its checks pass."), context);
  configurePromote(command.command("promote").description("Make a version the champion when it is good enough."), context);
  configureRollback(command.command("rollback").description("Make the previous version the champion again."), context);
};

function configureList(command: Command, context: CommandContext): void {
  command.option("--json", "print the result as JSON").action(async (options: { json?: boolean }) => {
    const output = context.output(options);
    const { listModels } = await import("../../../workflows/registry/list-models.ts");
    const { describeModelList } = await import("../../describe/models.ts");
    const list = await listModels({ cwd: context.cwd, reporter: output, signal: context.signal });
    output.result([...list.released, ...list.registered], describeModelList(list));
  });
}

function configureShow(command: Command, context: CommandContext): void {
  command
    .argument("[MODEL]", "bundle folder, its model.onnx, a released model's name, or models:/NAME[@ALIAS|/VERSION] (default: SERVAL_MODEL)")
    .option("--json", "print the result as JSON")
    .action(async (model: string | undefined, options: { json?: boolean }) => {
      const output = context.output(options);
      const { showModel } = await import("../../../workflows/registry/list-models.ts");
      const { describeModel, describeVersions } = await import("../../describe/models.ts");
      const shown = await showModel({ cwd: context.cwd, model, reporter: output, signal: context.signal });
      if ("registered" in shown) {
        output.result(shown, describeVersions(shown));
        return;
      }
      const { dir, ...facts } = shown;
      output.result(facts, describeModel(facts, dir));
    });
}
