import { readFile } from "node:fs/promises";
import { join, relative, resolve } from "node:path";
import type { Command } from "commander";
import { loadParams } from "../../config/params.ts";
import { loadSettings } from "../../config/settings.ts";
import { ServalError, toServalError } from "../../errors.ts";
import { copyBundle, loadBundle, shortDigest, type Bundle, type BundleManifest } from "../../model/bundle.ts";
import { modelNamePattern, provenanceFile } from "../../model/manifest.ts";
import { releasedModels, releasedModelsDir, resolveModel, trainedModelDir } from "../../model/resolve-model.ts";
import { rollback } from "../../registry/promote.ts";
import type { CommandContext, Configure } from "../command.ts";
import { connectRegistry, findModel } from "../find-model.ts";
import { describeRegisteredList, describeVersions, listRegistered, showRegistered, type RegisteredRow } from "../registered-models.ts";

export interface ModelRow {
  /** Folder name under models/. */
  readonly released: string;
  readonly name?: string;
  readonly version?: string;
  readonly labels?: readonly string[];
  readonly metrics?: Readonly<Record<string, number>>;
  /** Why it cannot be used. */
  readonly error?: { readonly code: string; readonly message: string };
}

export interface ReleasedModel {
  readonly released: string;
  /** Relative to the working repository. */
  readonly dir: string;
  readonly version: string;
  readonly checks: number;
  /** False where exactly this bundle was released before. */
  readonly changed: boolean;
}

// What runs models and draws pictures is imported where it is needed: a rollback must not wait for it.
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
    const rows = await listModels(context.cwd);
    const settings = loadSettings();
    let registered: RegisteredRow[] = [];
    if (settings.mlflowTrackingUri !== null) {
      registered = await listRegistered(settings, context.signal).catch((error: unknown) => {
        const { code, message } = toServalError(error);
        output.warn(`${code}: ${message}`);
        return [];
      });
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
      const settings = loadSettings();
      const name = model ?? settings.model ?? undefined;
      const [, registered] = /^models:\/+([^/@]+)$/.exec(name ?? "") ?? [];
      if (registered !== undefined) {
        const row = await showRegistered(settings, registered, context.signal);
        output.result(row, describeVersions(row));
        return;
      }
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
      const request = { cwd: context.cwd, settings: loadSettings(), bundle, name: checkName(options.name) };
      const { describeRegistered, registerModel } = await import("../register-model.ts");
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
      const name = named ?? (await loadParams(context.cwd)).model.name;
      const request = { cwd: context.cwd, settings: loadSettings(), name, version, data, force: reason };
      const { describePromotion, promoteModel } = await import("../promote-model.ts");
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
      const name = named ?? (await loadParams(context.cwd)).model.name;
      const { registry } = connectRegistry(loadSettings());
      const standing = await rollback(registry, name, options.reason, context.signal);
      const text = `Version ${standing.champion} of ${name} is the champion again; version ${standing.previous} is the previous one.`;
      context.output(options).result({ name, standing }, text);
    });
}

function configureRelease(command: Command, context: CommandContext): void {
  command
    .argument("[BUNDLE]", "bundle folder", trainedModelDir)
    .option("--name <NAME>", "folder under models/ (default: the model's name)")
    .option("--json", "print the result as JSON")
    .action(async (bundle: string, options: { name?: string; json?: boolean }) => {
      const released = await releaseModel(context.cwd, bundle, options.name);
      const { dir, version, checks, changed } = released;
      const text = changed ? `Released version ${version} as ${dir}; ${checks} checks passed.` : `${dir} is version ${version} already.`;
      context.output(options).result(released, text);
    });
}

/** Every bundle under models/; one that is damaged has its error in place of its facts. */
export async function listModels(cwd: string): Promise<ModelRow[]> {
  const rows: ModelRow[] = [];
  for (const released of await releasedModels(cwd)) {
    try {
      const bundle = await loadBundle(join(cwd, releasedModelsDir, released));
      const { name, labels, metrics } = bundle.manifest;
      rows.push({ released, name, version: shortDigest(bundle), labels, metrics });
    } catch (error) {
      const { code, message } = toServalError(error);
      rows.push({ released, error: { code, message } });
    }
  }
  return rows;
}

export interface ShownModel {
  readonly version: string;
  readonly digest: string;
  readonly manifest: BundleManifest;
  /** When, where and by whom it was made; null where the file is not there. */
  readonly provenance: Readonly<Record<string, unknown>> | null;
}

export async function showModel(dir: string): Promise<ShownModel> {
  const bundle = await loadBundle(dir);
  const provenance = await readFile(join(bundle.dir, provenanceFile), "utf8").then(
    (text) => JSON.parse(text) as Record<string, unknown>,
    () => null,
  );
  return { version: shortDigest(bundle), digest: bundle.digest, manifest: bundle.manifest, provenance };
}

/**
 * Copies a bundle to models/NAME after its known-answer images gave the known answers. Throws E_BUNDLE_CHECKS, also for
 * a bundle without any: what nobody can check is not released.
 */
export async function releaseModel(cwd: string, source: string, name?: string): Promise<ReleasedModel> {
  checkName(name);
  const { dir } = await resolveModel(source, cwd);
  const { loadServedModel } = await import("../../serve/served-model.ts");
  const model = await loadServedModel(dir);
  await model.close();
  const { bundle } = model;
  const checks = bundle.manifest.checks.length;
  if (checks === 0) throw new ServalError("E_BUNDLE_CHECKS", `${dir} holds no check images, so nothing shows that it works.`);
  const released = name ?? bundle.manifest.name;
  const target = resolve(cwd, releasedModelsDir, released);
  const result = { released, dir: relative(cwd, target), version: model.version, checks };
  if (await isSame(bundle, target)) return { ...result, changed: false };
  await copyBundle(bundle, target);
  return { ...result, changed: true };
}

function checkName(name: string | undefined): string | undefined {
  if (name === undefined || new RegExp(modelNamePattern).test(name)) return name;
  throw new ServalError("E_USAGE", `--name: expected 1 to 63 of a-z, 0-9, dot, dash and underscore, got ${JSON.stringify(name)}.`);
}

async function isSame(bundle: Bundle, target: string): Promise<boolean> {
  return await loadBundle(target).then(
    ({ digest }) => digest === bundle.digest,
    () => false,
  );
}

function describeRows(rows: readonly ModelRow[]): string {
  if (rows.length === 0) return "No model is released. `serval models release` copies the trained one to models/.";
  const width = Math.max(...rows.map(({ released }) => released.length));
  return rows
    .map(({ released, version, labels = [], metrics = {}, error }) => {
      const facts = error
        ? `${error.code}: ${error.message}`
        : [version, `${labels.length} classes`, ...describeMetrics(metrics, ["accuracy"])].join("  ");
      return `${released.padEnd(width)}  ${facts}`;
    })
    .join("\n");
}

function describeMetrics(metrics: Readonly<Record<string, number>>, names: readonly string[]): string[] {
  return names.filter((name) => name in metrics).map((name) => `${name} ${metrics[name]?.toFixed(4)}`);
}

function describeModel({ version, manifest, provenance }: ShownModel, dir: string): string {
  const { name, labels, preprocess, metrics, dataVersion, paramsHash, seed, checks, files } = manifest;
  const { width, height, fit, kernel, crop } = preprocess;
  const input = `${width}x${height} ${fit} ${kernel}${crop ? `, centre ${crop.width}x${crop.height}` : ""}`;
  const facts: [string, string][] = [
    ["model", `${name}, version ${version}, in ${dir}`],
    ["labels", labels.join(", ")],
    ["input", input],
    ["metrics", describeMetrics(metrics, Object.keys(metrics)).join(", ") || "none"],
    ["data", dataVersion],
    ["params", `${paramsHash}, seed ${seed}`],
    ["checks", `${checks.length} known-answer images`],
    ["files", Object.keys(files).join(", ")],
    ...Object.entries(provenance ?? {}).map(([key, value]): [string, string] => [
      key,
      typeof value === "string" ? value : JSON.stringify(value),
    ]),
  ];
  const widest = Math.max(...facts.map(([key]) => key.length));
  return facts.map(([key, value]) => `${key.padEnd(widest)}  ${value}`).join("\n");
}
