import { ServalError } from "../../errors/serval-error.ts";
import { isWithin, splitArtifactPath } from "./artifact-path.ts";
import { invalid } from "./refusal.ts";
import type { KeyValue } from "../key-value.ts";
import type { ModelVersion, ModelVersions } from "./store/model-versions.ts";
import { isPrompt } from "./store/registry-search.ts";
import type { TrackingStore } from "./store/tracking-store.ts";

export interface NewVersionRequest {
  readonly name: string;
  /** Where the model's files are: models:/m-ID, models:/NAME/VERSION, runs:/RUN/path, mlflow-artifacts:/…, s3://… */
  readonly source: string;
  readonly runId: string | undefined;
  readonly modelId: string | undefined;
  readonly runLink: string;
  readonly description: string;
  readonly tags: readonly KeyValue[];
}

/**
 * Makes a version of a registered model. A source in our own store must belong to the run or the logged model that the
 * request names, so that a version cannot point at the files of another; so must a folder of this machine.
 */
export function registerVersion(store: TrackingStore, request: NewVersionRequest): ModelVersion {
  const { name, tags, runLink, description } = request;
  return store.db.write(() => {
    const { source, runId, modelId, storageLocation } = isPrompt(tags) ? promptSource(request) : resolveSource(store, request);
    const version = store.modelVersions.create({ name, source, storageLocation, runId, runLink, description, tags });
    if (modelId !== "") store.loggedModels.addVersion(modelId, name, version.version);
    return version;
  });
}

/** What MLflow's clients send for prompts of language models, which are texts in tags and have no files. */
const promptSources = ["prompt-template", "dummy-source"];

function promptSource({ source }: NewVersionRequest): Source {
  if (!promptSources.includes(source))
    throw invalid(`source ${JSON.stringify(source)}: expected ${promptSources.join(" or ")} for a prompt.`);
  return { source, runId: "", modelId: "", storageLocation: source };
}

interface Source {
  readonly source: string;
  readonly runId: string;
  readonly modelId: string;
  readonly storageLocation: string;
}

function resolveSource(store: TrackingStore, { source, runId = "", modelId = "" }: NewVersionRequest): Source {
  const scheme = /^([a-z][a-z0-9+.-]*):/i.exec(source)?.[1]?.toLowerCase();
  if (scheme === undefined || scheme === "http" || scheme === "https") {
    throw invalid(
      `source ${JSON.stringify(source)}: expected models:/, runs:/, mlflow-artifacts:/ or the address of another store such as s3://bucket/folder.`,
    );
  }
  refuseDots(source);
  const model = modelId === "" ? undefined : known(source, "model_id", () => store.loggedModels.get(modelId));
  const ownRun = (): string => (runId !== "" ? runId : (model?.info.source_run_id ?? ""));
  if (scheme === "models") {
    const rest = source.slice("models:/".length);
    if (/^m-[0-9a-f]+$/.test(rest)) {
      if (rest !== modelId || model === undefined) throw foreign(source, "model_id");
      return { source, runId: ownRun(), modelId, storageLocation: model.info.artifact_uri };
    }
    return copyOf(store, source, rest, runId, modelId);
  }
  if (scheme === "runs") {
    const from = source.slice("runs:/".length).split("/")[0];
    // The run may be on another server: MLflow's clients register what they logged elsewhere.
    if (from !== runId || model !== undefined) throw foreign(source, "run_id");
    return { source, runId, modelId, storageLocation: source };
  }
  if (scheme === "mlflow-artifacts" || scheme === "file") {
    const root =
      model?.info.artifact_uri ?? (runId === "" ? undefined : known(source, "run_id", () => store.runs.info(runId)).artifact_uri);
    if (root === undefined || !isWithin(source, root)) throw foreign(source, model === undefined ? "run_id" : "model_id");
  }
  return { source, runId: ownRun(), modelId, storageLocation: source };
}

/** A version of another version: `models:/NAME/VERSION` or `models:/NAME@ALIAS`. */
function copyOf(store: TrackingStore, source: string, rest: string, runId: string, modelId: string): Source {
  const [, name, version, alias] = /^([^/@]+)(?:\/([^/]+)|@(.+))$/.exec(rest) ?? [];
  if (name === undefined)
    throw invalid(`source ${JSON.stringify(source)}: expected models:/NAME/VERSION, models:/NAME@ALIAS or models:/m-ID.`);
  const { modelVersions } = store;
  const original = alias === undefined ? namedVersion(modelVersions, name, version ?? "") : modelVersions.getByAlias(name, alias);
  if (runId !== "" && runId !== original.run_id) throw foreign(source, "run_id");
  return {
    source: `models:/${name}/${original.version}`,
    runId: original.run_id,
    modelId,
    storageLocation: store.modelVersions.downloadUri(name, original.version),
  };
}

/** A number, `latest`, or a stage. */
function namedVersion(versions: ModelVersions, name: string, version: string): ModelVersion {
  if (version === "latest") return versions.getByAlias(name, version);
  const inStage = /^\d+$/.test(version) ? undefined : versions.latest(name, [version])[0];
  return inStage ?? versions.get(name, version);
}

function refuseDots(source: string): void {
  const path = source.replace(/^[a-z][a-z0-9+.-]*:\/*/i, "");
  splitArtifactPath(path);
}

/** What the request names and we do not have is the request's fault, not a missing address. */
function known<Found>(source: string, parameter: string, find: () => Found): Found {
  try {
    return find();
  } catch (error) {
    if (error instanceof ServalError && error.details["errorCode"] === "RESOURCE_DOES_NOT_EXIST") throw foreign(source, parameter);
    throw error;
  }
}

function foreign(source: string, parameter: string): Error {
  return invalid(`source ${JSON.stringify(source)}: ${parameter} must name the run or the model that these files are of.`);
}
