import { invalid, missing, refusal } from "../refusal.ts";
import { checkExperimentName, checkExperimentTag, parseExperimentId } from "../names.ts";
import { parseFilter, parseOrder, type SearchSpec } from "../search/filter.ts";
import { checkMaxResults, cutPage, readPageToken, type Page } from "../search/page-token.ts";
import { compare, inList, joinConditions, keyValueCondition } from "../search/sql.ts";
import type { Database, Row } from "./database.ts";
import type { KeyValue } from "../../key-value.ts";
import { keyValues } from "./key-values.ts";

export type LifecycleStage = "active" | "deleted";
export type ViewType = "ACTIVE_ONLY" | "DELETED_ONLY" | "ALL";

export interface Experiment {
  readonly experiment_id: string;
  readonly name: string;
  readonly artifact_location: string;
  readonly lifecycle_stage: LifecycleStage;
  readonly creation_time: number;
  readonly last_update_time: number;
  readonly tags?: readonly KeyValue[];
}

export interface ExperimentSearch {
  readonly filter?: string | undefined;
  readonly orderBy?: readonly string[] | undefined;
  readonly viewType?: ViewType | undefined;
  readonly maxResults: number;
  readonly pageToken?: string | undefined;
}

const artifactRoot = "mlflow-artifacts:/";
export const maxSearchResults = 50_000;

const spec: SearchSpec = {
  entities: { attribute: "attribute", tag: "tag", tags: "tag" },
  attributes: {
    name: "name",
    experiment_id: "id",
    creation_time: "creation_time",
    last_update_time: "last_update_time",
  },
  numeric: ["creation_time", "last_update_time"],
  listed: ["experiment_id"],
  orderable: ["name", "experiment_id", "creation_time", "last_update_time"],
  nullable: ["tag"],
};

export function stagesOf(view: ViewType): readonly LifecycleStage[] {
  return view === "ALL" ? ["active", "deleted"] : view === "DELETED_ONLY" ? ["deleted"] : ["active"];
}

/** Experiments and their tags. */
export class Experiments {
  readonly #db: Database;

  constructor(db: Database) {
    this.#db = db;
    // Clients that name no experiment log to number 0.
    db.write(() => {
      if (db.get("SELECT 1 FROM experiments LIMIT 1") !== undefined) return;
      const now = Date.now();
      db.run("INSERT INTO experiments VALUES (0, 'Default', ?, 'active', ?, ?)", `${artifactRoot}0`, now, now);
    });
  }

  create(name: string, artifactLocation: string, tags: readonly KeyValue[]): string {
    checkExperimentName(name);
    for (const { key, value } of tags) checkExperimentTag(key, value);
    return this.#db.write(() => {
      this.#refuseTaken(name);
      const now = Date.now();
      const sql =
        "INSERT INTO experiments (name, artifact_location, lifecycle_stage, creation_time, last_update_time) VALUES (?, ?, 'active', ?, ?)";
      const id = this.#db.insert(sql, name, artifactLocation, now, now);
      if (artifactLocation === "") this.#db.run("UPDATE experiments SET artifact_location = ? WHERE id = ?", `${artifactRoot}${id}`, id);
      for (const { key, value } of tags) this.#putTag(id, key, value);
      return String(id);
    });
  }

  get(experimentId: string): Experiment {
    // A request that names none means the default one.
    const id = parseExperimentId(experimentId === "" ? "0" : experimentId);
    const row = this.#db.get("SELECT * FROM experiments WHERE id = ?", id);
    if (row === undefined) throw missing(`No experiment has the id ${id}.`);
    return this.#toExperiment(row);
  }

  getActive(experimentId: string): Experiment {
    const experiment = this.get(experimentId);
    if (experiment.lifecycle_stage !== "active") {
      throw invalid(`The experiment ${experiment.experiment_id} is deleted; it must be active for this.`);
    }
    return experiment;
  }

  getByName(name: string): Experiment {
    const row = this.#db.get("SELECT * FROM experiments WHERE name = ?", name);
    if (row === undefined) throw missing(`No experiment has the name ${JSON.stringify(name)}.`);
    return this.#toExperiment(row);
  }

  search({ filter, orderBy = [], viewType = "ACTIVE_ONLY", maxResults, pageToken }: ExperimentSearch): Page<Experiment> {
    checkMaxResults(maxResults, maxSearchResults);
    const conditions = parseFilter(filter, spec).map((clause) => {
      if (clause.type === "tag") return keyValueCondition("experiment_tags", "experiment_tags.experiment = experiments.id", clause);
      if (clause.key !== "experiment_id") return compare(spec.attributes[clause.key] ?? "", clause);
      if (clause.comparator.endsWith("LIKE")) throw invalid(`experiment_id does not support ${clause.comparator}.`);
      // The column holds numbers, the filter text.
      const { value, comparator } = clause;
      if (Array.isArray(value)) return inList("id", (value as readonly string[]).map(parseExperimentId), comparator);
      return compare("id", { ...clause, value: parseExperimentId(String(value)) });
    });
    const stages = stagesOf(viewType);
    const where = joinConditions([inList("lifecycle_stage", stages), ...conditions]);
    const orders = (orderBy.length > 0 ? orderBy : ["creation_time DESC", "experiment_id ASC"]).map((text) => {
      const { type, key, ascending } = parseOrder(text, spec);
      if (type !== "attribute") throw invalid(`order_by ${JSON.stringify(text)}: experiments are ordered by attributes only.`);
      return { column: spec.attributes[key] ?? "", ascending };
    });
    if (!orders.some(({ column }) => column === "id")) orders.push({ column: "id", ascending: false });
    const order = orders.map(({ column, ascending }) => `${column} ${ascending ? "ASC" : "DESC"}`).join(", ");
    const offset = readPageToken(pageToken);
    const sql = `SELECT * FROM experiments WHERE ${where.sql} ORDER BY ${order} LIMIT ? OFFSET ?`;
    return this.#db.read(() => {
      const { items, token } = cutPage(this.#db.all(sql, ...where.values, maxResults + 1, offset), offset, maxResults);
      return { items: items.map((row) => this.#toExperiment(row)), token };
    });
  }

  rename(experimentId: string, name: string): void {
    checkExperimentName(name);
    this.#db.write(() => {
      const { experiment_id: id, lifecycle_stage: stage, name: old } = this.get(experimentId);
      if (stage !== "active") throw refusal("INVALID_STATE", `The experiment ${id} is deleted and cannot be renamed.`);
      if (name !== old) this.#refuseTaken(name);
      this.#db.run("UPDATE experiments SET name = ?, last_update_time = ? WHERE id = ?", name, Date.now(), Number(id));
    });
  }

  /** Deletes or restores an experiment and all of its runs; nothing is removed from the disk. */
  setStage(experimentId: string, stage: LifecycleStage): void {
    this.#db.write(() => {
      const { experiment_id: text, lifecycle_stage: current } = this.get(experimentId);
      const id = Number(text);
      if (current === stage) throw missing(`No ${stage === "active" ? "deleted" : "active"} experiment has the id ${id}.`);
      this.#db.run("UPDATE experiments SET lifecycle_stage = ?, last_update_time = ? WHERE id = ?", stage, Date.now(), id);
      this.#db.run("UPDATE runs SET lifecycle_stage = ? WHERE experiment = ?", stage, id);
    });
  }

  setTag(experimentId: string, key: string, value: string): void {
    checkExperimentTag(key, value);
    this.#db.write(() => this.#putTag(Number(this.getActive(experimentId).experiment_id), key, value));
  }

  deleteTag(experimentId: string, key: string): void {
    this.#db.write(() => {
      const { experiment_id: id } = this.getActive(experimentId);
      const removed = this.#db.run("DELETE FROM experiment_tags WHERE experiment = ? AND key = ?", Number(id), key);
      if (removed === 0) throw missing(`The experiment ${id} has no tag ${JSON.stringify(key)}.`);
    });
  }

  /** A deleted experiment keeps its name. */
  #refuseTaken(name: string): void {
    if (this.#db.get("SELECT 1 FROM experiments WHERE name = ?", name) === undefined) return;
    throw refusal("RESOURCE_ALREADY_EXISTS", `An experiment with the name ${JSON.stringify(name)} is there already.`);
  }

  #putTag(id: number, key: string, value: string): void {
    this.#db.run("INSERT OR REPLACE INTO experiment_tags VALUES (?, ?, ?)", id, key, value);
  }

  #toExperiment(row: Row): Experiment {
    const id = Number(row["id"]);
    const tags = keyValues(this.#db.arrays("SELECT key, value FROM experiment_tags WHERE experiment = ? ORDER BY key", id));
    return {
      experiment_id: String(id),
      name: String(row["name"]),
      artifact_location: String(row["artifact_location"]),
      lifecycle_stage: row["lifecycle_stage"] as LifecycleStage,
      last_update_time: Number(row["last_update_time"]),
      creation_time: Number(row["creation_time"]),
      ...(tags.length > 0 && { tags }),
    };
  }
}
