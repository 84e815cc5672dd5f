import { invalid, missing } from "../refusal.ts";
import { checkAlias, checkModelName, checkRegistryTag, parseVersion } from "../names.ts";
import { parseFilter, parseOrder, type SearchSpec } from "../search/filter.ts";
import { checkMaxResults, cutPage, readPageToken, type Page } from "../search/page-token.ts";
import { compare, joinConditions, marks } from "../search/sql.ts";
import type { Database, Row } from "./database.ts";
import type { KeyValue } from "../../key-value.ts";
import { keyValues } from "./key-values.ts";
import { registryTagCondition, withoutPrompts, type RegistrySearch } from "./registry-search.ts";

export interface ModelVersion {
  readonly name: string;
  readonly version: string;
  readonly creation_timestamp: number;
  readonly last_updated_timestamp: number;
  readonly current_stage: string;
  readonly description: string;
  readonly source: string;
  readonly run_id: string;
  readonly status: "READY";
  readonly run_link: string;
  readonly tags?: readonly KeyValue[];
  readonly aliases?: readonly string[];
}

export interface NewModelVersion {
  readonly name: string;
  readonly source: string;
  /** Where the files lie, which a source like models:/… only points to. */
  readonly storageLocation: string;
  readonly runId: string;
  readonly runLink: string;
  readonly description: string;
  readonly tags: readonly KeyValue[];
}

const stages = ["None", "Staging", "Production", "Archived"];
const deletedStage = "Deleted_Internal";
const activeStages = ["Staging", "Production"];
const maxResultsLimit = 200_000;

const spec: SearchSpec = {
  entities: { attribute: "attribute", tag: "tag", tags: "tag" },
  attributes: {
    name: "m.name",
    version_number: "v.version",
    run_id: "v.run_id",
    source_path: "v.source",
    creation_timestamp: "v.creation_time",
    last_updated_timestamp: "v.last_update_time",
  },
  numeric: ["version_number"],
  listed: ["name", "run_id"],
  orderable: ["name", "version_number", "creation_timestamp", "last_updated_timestamp"],
  nullable: [],
};
const searchable = ["name", "version_number", "run_id", "source_path"];
const select = "SELECT v.*, m.name AS model_name FROM model_versions v JOIN registered_models m ON m.id = v.model";

/** Versions of registered models. One that is deleted keeps its number, so that it is never given twice. */
export class ModelVersions {
  readonly #db: Database;

  constructor(db: Database) {
    this.#db = db;
  }

  create({ name, source, storageLocation, runId, runLink, description, tags }: NewModelVersion): ModelVersion {
    for (const { key, value } of tags) checkRegistryTag(key, value);
    return this.#db.write(() => {
      const model = this.modelId(name);
      const now = Date.now();
      const last = this.#db.get("SELECT max(version) AS last FROM model_versions WHERE model = ?", model)?.["last"];
      const version = Number(last ?? 0) + 1;
      const id = this.#db.insert(
        `INSERT INTO model_versions (model, version, creation_time, last_update_time, description, stage, source, storage_location, run_id, run_link)
         VALUES (?, ?, ?, ?, ?, 'None', ?, ?, ?, ?)`,
        model,
        version,
        now,
        now,
        description,
        source,
        storageLocation,
        runId,
        runLink,
      );
      for (const { key, value } of tags) this.#db.run("INSERT OR REPLACE INTO model_version_tags VALUES (?, ?, ?)", id, key, value);
      this.#touch(model, now);
      return this.get(name, String(version));
    });
  }

  get(name: string, version: string): ModelVersion {
    return this.#toVersion(this.#row(name, version));
  }

  getByAlias(name: string, alias: string): ModelVersion {
    checkAlias(alias);
    const model = this.modelId(name);
    if (alias.toLowerCase() === "latest") {
      const newest = this.latest(name).sort((a, b) => Number(b.version) - Number(a.version))[0];
      if (newest === undefined) throw missing(`The registered model ${name} has no version.`);
      return this.get(name, newest.version);
    }
    const version = this.#db.get("SELECT version FROM aliases WHERE model = ? AND alias = ?", model, alias)?.["version"];
    // MLflow answers with this code, and its clients look for it.
    if (version === undefined) throw invalid(`The registered model ${name} has no alias ${alias}.`);
    return this.get(name, String(version));
  }

  /** The newest version of each stage, or of those that are named. `withAliases`: MLflow leaves them out where it shows a registered model. */
  latest(name: string, stageNames: readonly string[] = [], withAliases = true): ModelVersion[] {
    const wanted = stageNames.length === 0 ? stages : stageNames.map(canonicalStage);
    const sql = `${select} WHERE m.name = ? AND v.stage IN (${marks(wanted.length)})
      AND v.version = (SELECT max(n.version) FROM model_versions n WHERE n.model = v.model AND n.stage = v.stage) ORDER BY v.version`;
    return this.#db.all(sql, name, ...wanted).map((row) => this.#toVersion(row, withAliases));
  }

  update(name: string, version: string, description: string): ModelVersion {
    return this.#db.write(() => {
      const sql = "UPDATE model_versions SET description = ?, last_update_time = ? WHERE id = ?";
      this.#db.run(sql, description, Date.now(), Number(this.#row(name, version)["id"]));
      return this.get(name, version);
    });
  }

  transition(name: string, version: string, stageName: string, archiveOthers: boolean): ModelVersion {
    const stage = canonicalStage(stageName);
    if (archiveOthers && !activeStages.includes(stage)) {
      throw invalid(`archive_existing_versions is for ${activeStages.join(" and ")} only; got ${stage}.`);
    }
    return this.#db.write(() => {
      const row = this.#row(name, version);
      const [id, model, now] = [Number(row["id"]), Number(row["model"]), Date.now()];
      if (archiveOthers) {
        const sql = "UPDATE model_versions SET stage = 'Archived', last_update_time = ? WHERE model = ? AND stage = ? AND id <> ?";
        this.#db.run(sql, now, model, stage, id);
      }
      this.#db.run("UPDATE model_versions SET stage = ?, last_update_time = ? WHERE id = ?", stage, now, id);
      this.#touch(model, now);
      return this.get(name, version);
    });
  }

  delete(name: string, version: string): void {
    this.#db.write(() => {
      const row = this.#row(name, version);
      const [id, model, now] = [Number(row["id"]), Number(row["model"]), Date.now()];
      this.#db.run("DELETE FROM aliases WHERE model = ? AND version = ?", model, Number(row["version"]));
      this.#db.run(
        `UPDATE model_versions SET stage = ?, last_update_time = ?, description = NULL, source = '', storage_location = '', run_id = '',
           run_link = '' WHERE id = ?`,
        deletedStage,
        now,
        id,
      );
      this.#touch(model, now);
    });
  }

  downloadUri(name: string, version: string): string {
    return String(this.#row(name, version)["storage_location"]);
  }

  search({ filter, orderBy = [], maxResults, pageToken }: RegistrySearch): Page<ModelVersion> {
    checkMaxResults(maxResults, maxResultsLimit);
    const attributes = Object.fromEntries(Object.entries(spec.attributes).filter(([key]) => searchable.includes(key)));
    const clauses = parseFilter(filter, { ...spec, attributes });
    const where = joinConditions([
      { sql: "v.stage <> ?", values: [deletedStage] },
      ...withoutPrompts(clauses, "v.model"),
      ...clauses.flatMap((clause) =>
        clause.type === "tag"
          ? registryTagCondition("model_version_tags", "version", "v.id", clause)
          : [compare(attributes[clause.key] ?? "", clause)],
      ),
    ]);
    const orders = (orderBy.length > 0 ? orderBy : ["last_updated_timestamp DESC", "name ASC", "version_number DESC"]).map((text) => {
      const { type, key, ascending } = parseOrder(text, spec);
      if (type !== "attribute") throw invalid(`order_by ${JSON.stringify(text)}: model versions are ordered by attributes only.`);
      return `${spec.attributes[key]} ${ascending ? "ASC" : "DESC"}`;
    });
    const offset = readPageToken(pageToken);
    const sql = `${select} WHERE ${where.sql} ORDER BY ${[...orders, "m.name", "v.version DESC"].join(", ")} LIMIT ? OFFSET ?`;
    return this.#db.read(() => {
      const { items, token } = cutPage(this.#db.all(sql, ...where.values, maxResults + 1, offset), offset, maxResults);
      return { items: items.map((row) => this.#toVersion(row, false)), token };
    });
  }

  setTag(name: string, version: string, key: string, value: string): void {
    checkRegistryTag(key, value);
    this.#db.write(() => {
      this.#db.run("INSERT OR REPLACE INTO model_version_tags VALUES (?, ?, ?)", Number(this.#row(name, version)["id"]), key, value);
    });
  }

  deleteTag(name: string, version: string, key: string): void {
    this.#db.write(() =>
      this.#db.run("DELETE FROM model_version_tags WHERE version = ? AND key = ?", Number(this.#row(name, version)["id"]), key),
    );
  }

  modelRow(name: string): Row {
    checkModelName(name);
    const row = this.#db.get("SELECT * FROM registered_models WHERE name = ?", name);
    if (row === undefined) throw missing(`No registered model has the name ${JSON.stringify(name)}.`);
    return row;
  }

  modelId(name: string): number {
    return Number(this.modelRow(name)["id"]);
  }

  #row(name: string, version: string): Row {
    checkModelName(name);
    const row = this.#db.get(`${select} WHERE m.name = ? AND v.version = ? AND v.stage <> ?`, name, parseVersion(version), deletedStage);
    if (row === undefined) throw missing(`The registered model ${JSON.stringify(name)} has no version ${version}.`);
    return row;
  }

  #touch(model: number, now: number): void {
    this.#db.run("UPDATE registered_models SET last_update_time = ? WHERE id = ?", now, model);
  }

  /** MLflow leaves the aliases out of a search's answers. */
  #toVersion(row: Row, withAliases = true): ModelVersion {
    const tags = keyValues(this.#db.arrays("SELECT key, value FROM model_version_tags WHERE version = ?", Number(row["id"])));
    const [model, version] = [Number(row["model"]), Number(row["version"])];
    const aliases = withAliases
      ? this.#db
          .all("SELECT alias FROM aliases WHERE model = ? AND version = ? ORDER BY alias", model, version)
          .map((alias) => String(alias["alias"]))
      : [];
    return {
      name: String(row["model_name"]),
      version: String(version),
      creation_timestamp: Number(row["creation_time"]),
      last_updated_timestamp: Number(row["last_update_time"]),
      current_stage: String(row["stage"]),
      description: String(row["description"] ?? ""),
      source: String(row["source"]),
      run_id: String(row["run_id"]),
      status: "READY",
      run_link: String(row["run_link"]),
      ...(tags.length > 0 && { tags }),
      ...(aliases.length > 0 && { aliases }),
    };
  }
}

function canonicalStage(name: string): string {
  const stage = stages.find((known) => known.toLowerCase() === name.toLowerCase());
  if (stage === undefined) throw invalid(`stage ${JSON.stringify(name)}: expected one of ${stages.join(", ")}.`);
  return stage;
}
