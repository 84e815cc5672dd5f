import { join, relative } from "node:path";
import type { Command } from "commander";
import { ServalError, toServalError } from "../../../errors/serval-error.ts";
import { rollback } from "../../../registry/promote.ts";
import type { CommandContext, Configure } from "../../command.ts";
import { addFollowLinkFlag, guardFolders, type FollowLinkFlag } from "../../follow-link.ts";
import { describeRegisteredList, describeVersions, listRegistered, showRegistered, type RegisteredRow } from "../../registered-models.ts";
import { connectTracking } from "../../tracking-connection.ts";

/** What `serval train` writes: `trainedModelDir` of src/model, which loads too much for `--help`. */
const trainedModelDir = join("artifacts", "best");
const releasedDir = "models";
/** What `serval evaluate` writes. */
const evaluationDir = join("artifacts", "evaluation");

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
    const { describeRows, listModels } = await import("../../released-models.ts");
    const rows = await listModels(context.cwd);
    let registered: RegisteredRow[] = [];
    try {
      registered = await listRegistered((await connectTracking(context.cwd)).registry, context.signal);
    } catch (error) {
      const { code, message } = toServalError(error);
      output.warn(`${code}: ${message}`);
    }
    const text = [describeRows(rows), ...(registered.length > 0 ? ["", describeRegisteredList(registered)] : [])].join("\n");
    output.result([...rows, ...registered], text);
  });
}

function configureShow(command: Command, context: CommandContext): void {
  command
    .argument("[MODEL]", "bundle folder, its model.onnx, a released model's name, or models:/NAME[@ALIAS|/VERSION] (default: SERVAL_MODEL)")
    .option("--json", "print the result as JSON")
    .action(async (model: string | undefined, options: { json?: boolean }) => {
      const output = context.output(options);
      const [, registered] = /^models:\/+([^/@]+)$/.exec(model ?? "") ?? [];
      if (registered !== undefined) {
        const row = await showRegistered((await connectTracking(context.cwd)).registry, registered, context.signal);
        output.result(row, describeVersions(row));
        return;
      }
      const { loadSettings } = await import("../../../config/settings.ts");
      const { findModel } = await import("../../find-model.ts");
      const { describeModel, showModel } = await import("../../released-models.ts");
      const name = model ?? loadSettings().model ?? undefined;
      const { dir } = await findModel(name, context.cwd, output, context.signal);
      const shown = await showModel(dir);
      output.result(shown, describeModel(shown, relative(context.cwd, dir) || "."));
    });
}

function configureRegister(command: Command, context: CommandContext): void {
  command
    .argument("[BUNDLE]", "bundle folder", trainedModelDir)
    .option("--name <NAME>", "name in the registry (default: the model's name)")
    .option("--json", "print the result as JSON")
    .action(async (bundle: string, options: { name?: string; json?: boolean }) => {
      const output = context.output(options);
      const { checkName } = await import("../../released-models.ts");
      const request = { cwd: context.cwd, bundle, name: checkName(options.name) };
      const { describeRegistered, registerModel } = await import("../../register-model.ts");
      const registered = await registerModel(request, output, context.signal);
      output.result(registered, describeRegistered(registered));
    });
}

interface PromoteFlags {
  readonly data?: string;
  readonly force?: boolean;
  readonly reason?: string;
  readonly json?: boolean;
}

function configurePromote(command: Command, context: CommandContext): void {
  command
    .argument("[NAME[/VERSION]]", "registered model (default: model.name in params.yaml) and version (default: the newest)")
    .option("--data <SOURCE>", "compare on a folder or zip of labelled images instead of the test split")
    .option("--force", "promote it whatever the comparison says; needs --reason")
    .option("--reason <TEXT>", "why it is forced; recorded on the version")
    .option("--json", "print the result as JSON")
    .action(async (challenger: string | undefined, { data, force, reason, json }: PromoteFlags) => {
      if ((force ?? false) !== (reason !== undefined && reason.trim() !== "")) {
        throw new ServalError("E_USAGE", "--force and --reason TEXT go together: what was forced is recorded with its reason.");
      }
      const [, named, version] = /^(?:models:\/+)?([^/@]+)(?:\/([1-9]\d*))?$/.exec(challenger ?? "") ?? [];
      if (challenger !== undefined && named === undefined) {
        throw new ServalError("E_USAGE", `Expected NAME or NAME/VERSION, such as colours/3, got ${JSON.stringify(challenger)}.`);
      }
      const output = context.output({ json });
      const name = named ?? (await defaultName(context.cwd));
      const { loadSettings } = await import("../../../config/settings.ts");
      const request = { cwd: context.cwd, settings: loadSettings(), name, version, data, force: reason };
      const { describePromotion, promoteModel } = await import("../../promote-model.ts");
      const report = await promoteModel(request, output, context.signal);
      output.result(report, describePromotion(report));
      if (report.refusal !== null && !report.promoted) {
        throw new ServalError("E_PROMOTION_REFUSED", `Version ${report.version} of ${name} was not promoted: ${report.refusal}.`);
      }
    });
}

function configureRollback(command: Command, context: CommandContext): void {
  command
    .argument("[NAME]", "registered model (default: model.name in params.yaml)")
    .option("--reason <TEXT>", "why; recorded on the version that is left")
    .option("--json", "print the result as JSON")
    .action(async (named: string | undefined, options: { reason?: string; json?: boolean }) => {
      const { registry } = await connectTracking(context.cwd);
      const name = named ?? (await defaultName(context.cwd));
      const standing = await rollback(registry, name, options.reason, context.signal);
      const text = `Version ${standing.champion} of ${name} is the champion again; version ${standing.previous} is the previous one.`;
      context.output(options).result({ name, standing }, text);
    });
}

interface ReleaseFlags extends FollowLinkFlag {
  readonly name?: string;
  readonly evaluation: string;
  readonly knownFailures?: string;
  readonly json?: boolean;
}

function configureRelease(command: Command, context: CommandContext): void {
  addFollowLinkFlag(command)
    .argument("[BUNDLE]", "bundle folder", trainedModelDir)
    .option("--name <NAME>", "folder under models/ (default: the model's name)")
    .option("--evaluation <DIR>", "its evaluation on the test split, for the model card", evaluationDir)
    .option("--known-failures <FILE>", "Markdown for the model card: what it gets wrong, as a person saw it")
    .option("--json", "print the result as JSON")
    .action(async (bundle: string, { json, followLink, ...options }: ReleaseFlags) => {
      const output = context.output({ json });
      await guardFolders(context.cwd, { followLink }, [releasedDir]);
      const { releaseModel } = await import("../../released-models.ts");
      const released = await releaseModel({ cwd: context.cwd, bundle, ...options }, output);
      const { dir, version, checks, changed, evaluated } = released;
      const text = changed ? `Released version ${version} as ${dir}; ${checks} checks passed.` : `${dir} is version ${version} already.`;
      const card = evaluated ? "" : "\n  Its card has no figures on the test split: `serval evaluate`, then release it again.";
      output.result(released, `${text}${card}`);
    });
}

async function defaultName(cwd: string): Promise<string> {
  const { loadParams } = await import("../../../config/params.ts");
  return (await loadParams(cwd)).model.name;
}
