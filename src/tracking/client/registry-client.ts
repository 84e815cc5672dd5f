import { artifactClient, type ArtifactClient } from "./artifacts.ts";
import { connect, isRefusal, type Connection, type ConnectionOptions, type KeyValue } from "./connection.ts";

export interface RegisteredModel {
  readonly name: string;
  readonly description: string;
  readonly tags: Readonly<Record<string, string>>;
  /** Alias -> version. */
  readonly aliases: Readonly<Record<string, string>>;
}

export interface ModelVersion {
  readonly name: string;
  /** `1`, `2`, …: the registry counts. */
  readonly version: string;
  /** Milliseconds since 1970. */
  readonly createdAt: number;
  readonly source: string;
  readonly runId: string | null;
  readonly tags: Readonly<Record<string, string>>;
}

export interface NewVersion {
  readonly name: string;
  /** `models:/ID` of a logged model, or the address of its files. */
  readonly source: string;
  readonly modelId?: string;
  readonly runId?: string;
  readonly description?: string;
  readonly tags?: readonly KeyValue[];
}

/** The model registry's part of the MLflow REST API 2.0. */
export interface RegistryClient extends ArtifactClient {
  readonly server: string;
  /** Makes the registered model where it is not there. */
  ensureRegisteredModel(name: string, signal?: AbortSignal): Promise<void>;
  /** With its aliases; undefined where there is none of this name. */
  getRegisteredModel(name: string, signal?: AbortSignal): Promise<RegisteredModel | undefined>;
  /** All of them, by name. */
  listRegisteredModels(signal?: AbortSignal): Promise<RegisteredModel[]>;
  setRegisteredModelTag(name: string, tag: KeyValue, signal?: AbortSignal): Promise<void>;
  createVersion(version: NewVersion, signal?: AbortSignal): Promise<ModelVersion>;
  /** Undefined where there is none of this number. */
  getVersion(name: string, version: string, signal?: AbortSignal): Promise<ModelVersion | undefined>;
  /** Of one model, newest first. */
  listVersions(name: string, signal?: AbortSignal): Promise<ModelVersion[]>;
  setVersionTag(name: string, version: string, tag: KeyValue, signal?: AbortSignal): Promise<void>;
  /** Where the files of a version lie, for the artifact proxy. */
  artifactRootOf(name: string, version: string, signal?: AbortSignal): Promise<string>;
  /** Moves the alias there from wherever it is. */
  setAlias(name: string, alias: string, version: string, signal?: AbortSignal): Promise<void>;
  deleteAlias(name: string, alias: string, signal?: AbortSignal): Promise<void>;
  /** The address of the version's page. */
  pageOfVersion(name: string, version: string): string;
}

const pageSize = 200;

/** A client for the registry of the server at `uri`. Throws E_ENV for an address that is not http(s). */
export function createRegistryClient(uri: string, options: ConnectionOptions = {}): RegistryClient {
  const connection = connect(uri, options);
  return { ...registryCalls(connection), ...artifactClient(connection) };
}

function registryCalls({ server, call }: Connection): Omit<RegistryClient, keyof ArtifactClient> {
  return {
    server,
    async ensureRegisteredModel(name, signal) {
      try {
        await call("POST", "registered-models/create", { name }, signal);
      } catch (error) {
        if (!isRefusal(error, "RESOURCE_ALREADY_EXISTS")) throw error;
      }
    },
    async getRegisteredModel(name, signal) {
      const answer = await ifThere(call<{ registered_model: WireModel }>("GET", "registered-models/get", { name }, signal));
      return answer && toModel(answer.registered_model);
    },
    async listRegisteredModels(signal) {
      const models: RegisteredModel[] = [];
      for (let token: string | undefined = ""; token !== undefined;) {
        const content = { max_results: String(pageSize), order_by: "name ASC", ...(token !== "" && { page_token: token }) };
        const answer: { registered_models?: WireModel[]; next_page_token?: string } = await call(
          "GET",
          "registered-models/search",
          content,
          signal,
        );
        models.push(...(answer.registered_models ?? []).map(toModel));
        token = answer.next_page_token || undefined;
      }
      return models;
    },
    async setRegisteredModelTag(name, tag, signal) {
      await call("POST", "registered-models/set-tag", { name, ...tag }, signal);
    },
    async createVersion({ name, source, modelId, runId, description, tags = [] }, signal) {
      const content = {
        name,
        source,
        tags,
        ...(modelId !== undefined && { model_id: modelId }),
        ...(runId !== undefined && { run_id: runId }),
        ...(description !== undefined && { description }),
      };
      const answer = await call<{ model_version: WireVersion }>("POST", "model-versions/create", content, signal);
      return toVersion(answer.model_version);
    },
    async getVersion(name, version, signal) {
      const answer = await ifThere(call<{ model_version: WireVersion }>("GET", "model-versions/get", { name, version }, signal));
      return answer && toVersion(answer.model_version);
    },
    async listVersions(name, signal) {
      const filter = `name='${name}'`;
      const versions: ModelVersion[] = [];
      for (let token: string | undefined = ""; token !== undefined;) {
        const content = { filter, max_results: String(pageSize), ...(token !== "" && { page_token: token }) };
        const answer: { model_versions?: WireVersion[]; next_page_token?: string } = await call(
          "GET",
          "model-versions/search",
          content,
          signal,
        );
        versions.push(...(answer.model_versions ?? []).map(toVersion));
        token = answer.next_page_token || undefined;
      }
      return versions.sort((a, b) => Number(b.version) - Number(a.version));
    },
    async setVersionTag(name, version, tag, signal) {
      await call("POST", "model-versions/set-tag", { name, version, ...tag }, signal);
    },
    async artifactRootOf(name, version, signal) {
      const answer = await call<{ artifact_uri: string }>("GET", "model-versions/get-download-uri", { name, version }, signal);
      return answer.artifact_uri;
    },
    async setAlias(name, alias, version, signal) {
      await call("POST", "registered-models/alias", { name, alias, version }, signal);
    },
    async deleteAlias(name, alias, signal) {
      await call("DELETE", "registered-models/alias", { name, alias }, signal);
    },
    pageOfVersion: (name, version) => `${server}/#/models/${encodeURIComponent(name)}/versions/${version}?workflowType=machine_learning`,
  };
}

interface WireModel {
  readonly name: string;
  readonly description?: string;
  readonly tags?: readonly KeyValue[];
  readonly aliases?: readonly { alias: string; version: string | number }[];
}

interface WireVersion {
  readonly name: string;
  readonly version: string | number;
  readonly creation_timestamp?: number;
  readonly source?: string;
  readonly run_id?: string;
  readonly tags?: readonly KeyValue[];
}

function toModel({ name, description = "", tags = [], aliases = [] }: WireModel): RegisteredModel {
  return {
    name,
    description,
    tags: toRecord(tags),
    aliases: Object.fromEntries(aliases.map(({ alias, version }) => [alias, String(version)])),
  };
}

function toVersion(wire: WireVersion): ModelVersion {
  const { name, version, creation_timestamp: createdAt = 0, source = "", run_id: runId, tags = [] } = wire;
  return { name, version: String(version), createdAt, source, runId: runId || null, tags: toRecord(tags) };
}

function toRecord(pairs: readonly KeyValue[]): Record<string, string> {
  return Object.fromEntries(pairs.map(({ key, value }) => [key, value]));
}

async function ifThere<Answer>(asked: Promise<Answer>): Promise<Answer | undefined> {
  try {
    return await asked;
  } catch (error) {
    if (isRefusal(error, "RESOURCE_DOES_NOT_EXIST")) return undefined;
    throw error;
  }
}
