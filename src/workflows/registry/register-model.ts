import { relative } from "node:path";
import { ServalError } from "../../errors/serval-error.ts";
import { trainedModelDir } from "../../paths.ts";
import { registerBundle } from "../../registry/register.ts";
import { loadServedModel } from "../../serve/model/served-model.ts";
import { findModel } from "../find-model.ts";
import { silentReporter, type UseCaseOptions } from "../reporter.ts";
import { connectTracking } from "../tracking-connection.ts";
import { checkReleaseName } from "./release-model.ts";

export interface RegisterModelOptions extends UseCaseOptions {
  /** Folder of the bundle. Default: artifacts/best. */
  readonly bundle?: string | undefined;
  /** Name in the registry. Default: the model's own. */
  readonly name?: string | undefined;
}

export interface RegisterReport {
  readonly name: string;
  readonly version: string;
  readonly digest: string;
  /** False where this bundle is a version already. */
  readonly created: boolean;
  /** The run that made it, on the server; null where the server does not know. */
  readonly runId: string | null;
  readonly page: string;
}

/** Makes a bundle whose known-answer images pass a version of a registered model. */
export async function registerModel(options: RegisterModelOptions): Promise<RegisterReport> {
  const { cwd, bundle: path = trainedModelDir, reporter = silentReporter, signal } = options;
  const name = checkReleaseName(options.name);
  const { tracking, registry } = await connectTracking(cwd);
  const { dir } = await findModel(path, { cwd, reporter, signal });
  const served = await loadServedModel(dir, { workers: 1 });
  await served.close();
  const { bundle } = served;
  if (bundle.manifest.checks.length === 0) {
    throw new ServalError("E_BUNDLE_CHECKS", `${relative(cwd, dir)} has no check images, so nothing shows that it works.`);
  }
  const progress = reporter.progress("Uploading", Object.keys(bundle.manifest.files).length, "files");
  const onProgress = (done: number): void => progress.update(done);
  const { version, created } = await registerBundle({
    tracking,
    registry,
    bundle,
    name: name ?? bundle.manifest.name,
    ...(signal && { signal }),
    onProgress,
  }).finally(() => progress.end());
  return {
    name: version.name,
    version: version.version,
    digest: bundle.digest,
    created,
    runId: version.runId,
    page: registry.pageOfVersion(version.name, version.version),
  };
}
