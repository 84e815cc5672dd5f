import { relative } from "node:path";
import { ServalError } from "../errors/serval-error.ts";
import { registerBundle } from "../registry/register.ts";
import { loadServedModel } from "../serve/model/served-model.ts";
import { findModel } from "./find-model.ts";
import type { Output } from "./output.ts";
import { connectTracking } from "./tracking-connection.ts";

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
export async function registerModel(
  { cwd, bundle: path, name }: { cwd: string; bundle: string; name?: string | undefined },
  output: Output,
  signal: AbortSignal,
): Promise<RegisterReport> {
  const { tracking, registry } = await connectTracking(cwd);
  const { dir } = await findModel(path, cwd, output, signal);
  const served = await loadServedModel(dir, { workers: 1 });
  await served.close();
  const { bundle } = served;
  if (bundle.manifest.checks.length === 0) {
    throw new ServalError("E_BUNDLE_CHECKS", `${relative(cwd, dir)} holds no check images, so nothing shows that it works.`);
  }
  const progress = output.progress("Uploading", Object.keys(bundle.manifest.files).length, "files");
  const onProgress = (done: number): void => progress.update(done);
  const { version, created } = await registerBundle({
    tracking,
    registry,
    bundle,
    name: name ?? bundle.manifest.name,
    signal,
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

export function describeRegistered({ name, version, digest, created, page }: RegisterReport): string {
  const which = `version ${version} of ${name} (bundle ${digest.slice(0, 12)})`;
  return [
    created ? `Registered ${which}: ${page}` : `This bundle is ${which} already: ${page}`,
    `Next: serval models promote ${name}/${version}`,
  ].join("\n");
}
