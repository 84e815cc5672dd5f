import { artifactClient, type ArtifactClient } from "./artifacts.ts";
import { connect, isRefusal, type Connection, type ConnectionOptions } from "./connection.ts";
import type { Fields } from "./fields.ts";
import { readPages } from "./pages.ts";
import type { KeyValue } from "../key-value.ts";
import { nothing, toRegisteredModel, toVersion, type ModelVersion, type RegisteredModel } from "./wire.ts";

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
  /** With its aliases; undefined where there is no model of this name. */
  getRegisteredModel(name: string, signal?: AbortSignal): Promise<RegisteredModel | undefined>;
  /** All of them, by name. */
  listRegisteredModels(signal?: AbortSignal): Promise<RegisteredModel[]>;
  setRegisteredModelTag(name: string, tag: KeyValue, signal?: AbortSignal): Promise<void>;
  createVersion(version: NewVersion, signal?: AbortSignal): Promise<ModelVersion>;
  /** Undefined where there is no version of this number. */
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

function registryCalls(connection: Connection): Omit<RegistryClient, keyof ArtifactClient> {
  const { server, call } = connection;
  return {
    server,
    async ensureRegisteredModel(name, signal) {
      try {
        await call("POST", "registered-models/create", { name }, nothing, signal);
      } catch (error) {
        if (!isRefusal(error, "RESOURCE_ALREADY_EXISTS")) throw error;
      }
    },
    async getRegisteredModel(name, signal) {
      const read = (answer: Fields): RegisteredModel => toRegisteredModel(answer.object("registered_model"));
      return await ifThere(call("GET", "registered-models/get", { name }, read, signal));
    },
    async listRegisteredModels(signal) {
      const content = { max_results: String(pageSize), order_by: "name ASC" };
      return await readPages(
        connection,
        "registered-models/search",
        content,
        { key: "registered_models", read: toRegisteredModel },
        signal,
      );
    },
    async setRegisteredModelTag(name, tag, signal) {
      await call("POST", "registered-models/set-tag", { name, ...tag }, nothing, signal);
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
      return await call("POST", "model-versions/create", content, (answer) => toVersion(answer.object("model_version")), signal);
    },
    async getVersion(name, version, signal) {
      const read = (answer: Fields): ModelVersion => toVersion(answer.object("model_version"));
      return await ifThere(call("GET", "model-versions/get", { name, version }, read, signal));
    },
    async listVersions(name, signal) {
      const content = { filter: `name='${name}'`, max_results: String(pageSize) };
      const page = { key: "model_versions", read: toVersion };
      const versions = await readPages(connection, "model-versions/search", content, page, signal);
      return versions.sort((a, b) => Number(b.version) - Number(a.version));
    },
    async setVersionTag(name, version, tag, signal) {
      await call("POST", "model-versions/set-tag", { name, version, ...tag }, nothing, signal);
    },
    async artifactRootOf(name, version, signal) {
      return await call("GET", "model-versions/get-download-uri", { name, version }, (answer) => answer.text("artifact_uri"), signal);
    },
    async setAlias(name, alias, version, signal) {
      await call("POST", "registered-models/alias", { name, alias, version }, nothing, signal);
    },
    async deleteAlias(name, alias, signal) {
      await call("DELETE", "registered-models/alias", { name, alias }, nothing, signal);
    },
    pageOfVersion: (name, version) => `${server}/#/models/${encodeURIComponent(name)}/versions/${version}?workflowType=machine_learning`,
  };
}

async function ifThere<Answer>(asked: Promise<Answer>): Promise<Answer | undefined> {
  try {
    return await asked;
  } catch (error) {
    if (isRefusal(error, "RESOURCE_DOES_NOT_EXIST")) return undefined;
    throw error;
  }
}
