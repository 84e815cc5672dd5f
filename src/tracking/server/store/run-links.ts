import { checkTextLength } from "../names.ts";
import { invalid } from "../refusal.ts";
import type { Database } from "./database.ts";
import type { KeyValue } from "../../key-value.ts";
import { keyValues } from "./key-values.ts";

export interface Dataset {
  readonly name: string;
  readonly digest: string;
  readonly source_type: string;
  readonly source: string;
  readonly schema?: string;
  readonly profile?: string;
}

export interface DatasetInput {
  readonly tags?: readonly KeyValue[];
  readonly dataset: Dataset;
}

export interface RunInputs {
  readonly dataset_inputs?: readonly DatasetInput[];
  readonly model_inputs?: readonly { readonly model_id: string }[];
}

export interface RunOutputs {
  readonly model_outputs?: readonly { readonly model_id: string; readonly step: number }[];
}

export interface DatasetSummary {
  readonly experiment_id: string;
  readonly name: string;
  readonly digest: string;
  readonly context?: string;
}

export const contextTag = "mlflow.data.context";
const maxSummaries = 1000;
const sizes = { name: 500, digest: 36, source: 65_535, schema: 1_048_575, profile: 16_777_215 } as const;

/** What a run read and made: data sets and logged models. */
export class RunLinks {
  readonly #db: Database;

  constructor(db: Database) {
    this.#db = db;
  }

  /** A data set belongs to its experiment and is known by name and digest; the tags of the first time stay. */
  addDatasets(run: { readonly id: number; readonly experiment: number }, inputs: readonly DatasetInput[]): void {
    for (const { dataset, tags = [] } of inputs) {
      checkDataset(dataset);
      const { name, digest, source_type: type, source, schema = null, profile = null } = dataset;
      const sql =
        "INSERT OR IGNORE INTO datasets (experiment, name, digest, source_type, source, schema, profile) VALUES (?, ?, ?, ?, ?, ?, ?)";
      this.#db.run(sql, run.experiment, name, digest, type, source, schema, profile);
      const found = this.#db.get("SELECT id FROM datasets WHERE experiment = ? AND name = ? AND digest = ?", run.experiment, name, digest);
      const id = Number(found?.["id"]);
      if (this.#db.get("SELECT 1 FROM dataset_inputs WHERE run = ? AND dataset = ?", run.id, id) !== undefined) continue;
      const input = this.#db.insert("INSERT INTO dataset_inputs (run, dataset) VALUES (?, ?)", run.id, id);
      for (const { value } of tags) checkTextLength(value, "value");
      for (const { key, value } of tags) this.#db.run("INSERT OR REPLACE INTO input_tags VALUES (?, ?, ?)", input, key, value);
    }
  }

  /** What is logged again, by a client that lost the answer, stands once. */
  addModels(run: number, direction: "input" | "output", models: readonly { readonly model_id: string; readonly step?: number }[]): void {
    const known = "SELECT 1 FROM model_links WHERE run = ? AND direction = ? AND model_id = ? AND step = ?";
    const sql = "INSERT INTO model_links (run, direction, model_id, step) VALUES (?, ?, ?, ?)";
    for (const { model_id: id, step = 0 } of models)
      if (this.#db.get(known, run, direction, id, step) === undefined) this.#db.run(sql, run, direction, id, step);
  }

  /** With `rows` at most as many of each, and of data sets no more than a page shows. */
  of(run: number, rows?: number): { readonly inputs: RunInputs; readonly outputs: RunOutputs } {
    const datasets = this.#db
      .all(
        `SELECT dataset_inputs.id AS input, name, digest, source_type, ${rows === undefined ? "source, schema, profile" : "substr(source, 1, 1000) AS source, NULL AS schema, NULL AS profile"}
         FROM dataset_inputs JOIN datasets ON datasets.id = dataset WHERE run = ? ORDER BY 1 LIMIT ?`,
        run,
        rows ?? -1,
      )
      .map((row): DatasetInput => {
        const tags = keyValues(this.#db.arrays("SELECT key, value FROM input_tags WHERE input = ?", Number(row["input"])));
        const { schema, profile } = row;
        return {
          ...(tags.length > 0 && { tags }),
          dataset: {
            name: String(row["name"]),
            digest: String(row["digest"]),
            source_type: String(row["source_type"]),
            source: String(row["source"]),
            ...(schema !== null && { schema: String(schema) }),
            ...(profile !== null && { profile: String(profile) }),
          },
        };
      });
    const models = this.#db.all("SELECT direction, model_id, step FROM model_links WHERE run = ? ORDER BY id LIMIT ?", run, rows ?? -1);
    const inputs = models.filter((row) => row["direction"] === "input").map((row) => ({ model_id: String(row["model_id"]) }));
    const outputs = models
      .filter((row) => row["direction"] === "output")
      .map((row) => ({ model_id: String(row["model_id"]), step: Number(row["step"]) }));
    return {
      inputs: { ...(datasets.length > 0 && { dataset_inputs: datasets }), ...(inputs.length > 0 && { model_inputs: inputs }) },
      outputs: outputs.length > 0 ? { model_outputs: outputs } : {},
    };
  }

  /** The data sets of an experiment's runs, each with the context (training, validation) that it was used in. */
  summaries(experiment: number): DatasetSummary[] {
    const sql = `SELECT DISTINCT experiment, name, digest, value FROM datasets JOIN dataset_inputs ON dataset = datasets.id
      LEFT JOIN input_tags ON input = dataset_inputs.id AND key = '${contextTag}' WHERE experiment = ? LIMIT ${maxSummaries}`;
    return this.#db.all(sql, experiment).map((row) => ({
      experiment_id: String(row["experiment"]),
      name: String(row["name"]),
      digest: String(row["digest"]),
      ...(row["value"] !== null && { context: String(row["value"]) }),
    }));
  }
}

function checkDataset(dataset: Dataset): void {
  for (const [field, limit] of Object.entries(sizes)) {
    const text = dataset[field as keyof typeof sizes];
    if ((field === "name" || field === "digest") && !text) throw invalid(`dataset: ${field} is missing.`);
    if (text !== undefined && text.length > limit)
      throw invalid(`dataset: ${field} exceeds the maximum length of ${limit} characters: got ${text.length}.`);
  }
}
