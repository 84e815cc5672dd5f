import { openAsBlob } from "node:fs";
import { join } from "node:path";
import { bundlePaths, type Bundle } from "../model/bundle.ts";
import { mlflowModelFiles } from "../model/mlflow-model.ts";
import type { TrackingClient } from "../tracking/client/tracking-client.ts";
import type { LoggedModel } from "../tracking/client/wire.ts";
import type { RegistryClient } from "../tracking/client/registry-client.ts";
import type { ModelVersion } from "../tracking/client/wire.ts";
import { accuracyTag, digestTag } from "./versions.ts";

export interface RegisterOptions {
  readonly tracking: TrackingClient;
  readonly registry: RegistryClient;
  readonly bundle: Bundle;
  /** Name in the registry. */
  readonly name: string;
  readonly signal?: AbortSignal;
  readonly onProgress?: (done: number, total: number) => void;
}

export interface Registered {
  readonly version: ModelVersion;
  /** False where this bundle is a version already. */
  readonly created: boolean;
}

/**
 * Makes a bundle a version of a registered model. Where the training logged it, the version names that run's model;
 * otherwise the files are uploaded first. May be repeated: a bundle has one version, and an upload that broke off is made
 * whole.
 */
export async function registerBundle(options: RegisterOptions): Promise<Registered> {
  const { tracking, registry, bundle, name, signal } = options;
  const { manifest, digest } = bundle;
  await registry.ensureRegisteredModel(name, signal);
  const known = (await registry.listVersions(name, signal)).find((version) => version.tags[digestTag] === digest);
  if (known !== undefined) return { version: known, created: false };

  const experimentId = await tracking.ensureExperiment(manifest.name, signal);
  const tag = { key: digestTag, value: digest };
  const found = await tracking.findLoggedModel(experimentId, tag, signal);
  const model = found ?? (await tracking.createLoggedModel({ experimentId, name: manifest.name, tags: [tag] }, signal));
  if (model.status !== "READY") {
    await uploadBundle(options, model);
    await tracking.finalizeLoggedModel(model.modelId, signal);
  }
  const { accuracy } = manifest.metrics;
  // Few: MLflow's page shows every tag of every version in one table.
  const measured = accuracy === undefined ? [] : [{ key: accuracyTag, value: String(accuracy) }];
  const version = await registry.createVersion(
    {
      name,
      source: `models:/${model.modelId}`,
      modelId: model.modelId,
      ...(model.sourceRunId !== null && { runId: model.sourceRunId }),
      tags: [tag, { key: "serval.data_version", value: manifest.dataVersion }, ...measured],
      description: `Classes: ${manifest.labels.join(", ")}.`,
    },
    signal,
  );
  return { version, created: true };
}

async function uploadBundle({ tracking, bundle, signal, onProgress }: RegisterOptions, model: LoggedModel): Promise<void> {
  const { dir } = bundle;
  const own = await bundlePaths(bundle);
  const made = mlflowModelFiles(bundle, new Date(), { modelId: model.modelId });
  const total = own.length + Object.keys(made).length;
  let done = 0;
  const upload = async (path: string, data: Blob): Promise<void> => {
    await tracking.uploadArtifact(model.artifactUri, path, data, signal);
    onProgress?.(++done, total);
  };
  for (const path of own) await upload(path, await openAsBlob(join(dir, path)));
  for (const [path, text] of Object.entries(made)) await upload(path, new Blob([text]));
}
