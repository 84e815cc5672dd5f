import { invalid, refusal } from "../refusal.ts";
import { checkAlias, checkAliasIsFree, checkModelName, checkRegistryTag, parseVersion } from "../names.ts";
import { parseFilter, parseOrder, type SearchSpec } from "../search/filter.ts";
import { checkMaxResults, cutPage, readPageToken, type Page } from "../search/page-token.ts";
import { compare, joinConditions } from "../search/sql.ts";
import type { Database, Row } from "./database.ts";
import type { KeyValue } from "../../key-value.ts";
import { keyValues } from "./key-values.ts";
import type { ModelVersion, ModelVersions } from "./model-versions.ts";
import { registryTagCondition, withoutPrompts, type RegistrySearch } from "./registry-search.ts";

export interface RegisteredModel {
  readonly name: string;
  readonly creation_timestamp: number;
  readonly last_updated_timestamp: number;
  readonly description?: string;
  readonly latest_versions?: readonly ModelVersion[];
  readonly tags?: readonly KeyValue[];
  readonly aliases?: readonly { readonly alias: string; readonly version: string }[];
}

const maxResultsLimit = 1000;
const spec: SearchSpec = {
  entities: { attribute: "attribute", tag: "tag", tags: "tag" },
  attributes: { name: "m.name", timestamp: "m.last_update_time", last_updated_timestamp: "m.last_update_time" },
  numeric: ["timestamp", "last_updated_timestamp"],
  listed: ["name"],
  orderable: ["name", "timestamp", "last_updated_timestamp"],
  nullable: [],
};

/** Registered models with their tags and aliases. */
export class RegisteredModels {
  readonly #db: Database;
  readonly #versions: ModelVersions;

  constructor(db: Database, versions: ModelVersions) {
    this.#db = db;
    this.#versions = versions;
  }

  create(name: string, description: string, tags: readonly KeyValue[]): RegisteredModel {
    checkModelName(name);
    for (const { key, value } of tags) checkRegistryTag(key, value);
    return this.#db.write(() => {
      this.#refuseTaken(name);
      const now = Date.now();
      const sql = "INSERT INTO registered_models (name, creation_time, last_update_time, description) VALUES (?, ?, ?, ?)";
      const id = this.#db.insert(sql, name, now, now, description);
      for (const { key, value } of tags) this.#db.run("INSERT OR REPLACE INTO registered_model_tags VALUES (?, ?, ?)", id, key, value);
      return this.get(name);
    });
  }

  get(name: string): RegisteredModel {
    checkModelName(name);
    return this.#db.read(() => this.#toModel(this.#versions.modelRow(name)));
  }

  update(name: string, description: string): RegisteredModel {
    return this.#db.write(() => {
      const sql = "UPDATE registered_models SET description = ?, last_update_time = ? WHERE id = ?";
      this.#db.run(sql, description, Date.now(), this.#versions.modelId(name));
      return this.get(name);
    });
  }

  rename(name: string, newName: string): RegisteredModel {
    checkModelName(newName, "new_name");
    return this.#db.write(() => {
      const id = this.#versions.modelId(name);
      if (newName !== name) this.#refuseTaken(newName);
      const now = Date.now();
      this.#db.run("UPDATE registered_models SET name = ?, last_update_time = ? WHERE id = ?", newName, now, id);
      this.#db.run("UPDATE model_versions SET last_update_time = ? WHERE model = ?", now, id);
      return this.get(newName);
    });
  }

  /** With its versions, tags and aliases; the files of its versions stay where they are. */
  delete(name: string): void {
    this.#db.write(() => this.#db.run("DELETE FROM registered_models WHERE id = ?", this.#versions.modelId(name)));
  }

  search({ filter, orderBy = [], maxResults, pageToken }: RegistrySearch): Page<RegisteredModel> {
    checkMaxResults(maxResults, maxResultsLimit);
    const clauses = parseFilter(filter, { ...spec, attributes: { name: "m.name" } });
    const where = joinConditions([
      ...withoutPrompts(clauses, "m.id"),
      ...clauses.flatMap((clause) =>
        clause.type === "tag" ? registryTagCondition("registered_model_tags", "model", "m.id", clause) : [compare("m.name", clause)],
      ),
    ]);
    const orders = orderBy.map((text) => {
      const { type, key, ascending } = parseOrder(text, spec);
      if (type !== "attribute") throw invalid(`order_by ${JSON.stringify(text)}: registered models are ordered by attributes only.`);
      return `${spec.attributes[key]} ${ascending ? "ASC" : "DESC"}`;
    });
    const offset = readPageToken(pageToken);
    const sql = `SELECT m.* FROM registered_models m WHERE ${where.sql} ORDER BY ${[...orders, "m.name"].join(", ")} LIMIT ? OFFSET ?`;
    return this.#db.read(() => {
      const { items, token } = cutPage(this.#db.all(sql, ...where.values, maxResults + 1, offset), offset, maxResults);
      return { items: items.map((row) => this.#toModel(row)), token };
    });
  }

  setTag(name: string, key: string, value: string): void {
    checkRegistryTag(key, value);
    this.#db.write(() =>
      this.#db.run("INSERT OR REPLACE INTO registered_model_tags VALUES (?, ?, ?)", this.#versions.modelId(name), key, value),
    );
  }

  /** One that is not there is not an error, as in MLflow. */
  deleteTag(name: string, key: string): void {
    this.#db.write(() => this.#db.run("DELETE FROM registered_model_tags WHERE model = ? AND key = ?", this.#versions.modelId(name), key));
  }

  setAlias(name: string, alias: string, version: string): void {
    checkAlias(alias);
    checkAliasIsFree(alias);
    this.#db.write(() => {
      this.#versions.get(name, version);
      this.#db.run("INSERT OR REPLACE INTO aliases VALUES (?, ?, ?)", this.#versions.modelId(name), alias, parseVersion(version));
    });
  }

  deleteAlias(name: string, alias: string): void {
    checkAlias(alias);
    this.#db.write(() => this.#db.run("DELETE FROM aliases WHERE model = ? AND alias = ?", this.#versions.modelId(name), alias));
  }

  #refuseTaken(name: string): void {
    if (this.#db.get("SELECT 1 FROM registered_models WHERE name = ?", name) === undefined) return;
    throw refusal("RESOURCE_ALREADY_EXISTS", `A registered model with the name ${JSON.stringify(name)} is there already.`);
  }

  #toModel(row: Row): RegisteredModel {
    const id = Number(row["id"]);
    const name = String(row["name"]);
    const latest = this.#versions.latest(name, [], false);
    const tags = keyValues(this.#db.arrays("SELECT key, value FROM registered_model_tags WHERE model = ?", id));
    const aliases = this.#db
      .all("SELECT alias, version FROM aliases WHERE model = ? ORDER BY alias", id)
      .map((alias) => ({ alias: String(alias["alias"]), version: String(alias["version"]) }));
    const description = String(row["description"] ?? "");
    return {
      name,
      creation_timestamp: Number(row["creation_time"]),
      last_updated_timestamp: Number(row["last_update_time"]),
      ...(description !== "" && { description }),
      ...(latest.length > 0 && { latest_versions: latest }),
      ...(tags.length > 0 && { tags }),
      ...(aliases.length > 0 && { aliases }),
    };
  }
}
