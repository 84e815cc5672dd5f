import type { SQLInputValue } from "node:sqlite";
import { invalid, quote } from "../refusal.ts";
import { parseExperimentId } from "../names.ts";
import { parseFilter, parseOrder, type Clause, type SearchSpec } from "../search/filter.ts";
import { checkMaxResults, cutPage, readPageToken, type Page } from "../search/page-token.ts";
import { compare, inList, joinConditions, keyValueCondition, type Condition } from "../search/sql.ts";
import type { Database, Row } from "./database.ts";
import { maxSearchResults, stagesOf, type ViewType } from "./experiments.ts";
import { contextTag } from "./run-links.ts";

export interface RunSearch {
  readonly experimentIds: readonly string[];
  readonly filter?: string | undefined;
  readonly orderBy?: readonly string[] | undefined;
  readonly viewType?: ViewType | undefined;
  readonly maxResults: number;
  readonly pageToken?: string | undefined;
}

const attributes: Readonly<Record<string, string>> = {
  run_id: "runs.run_id",
  run_name: "runs.name",
  "run name": "runs.name",
  "Run name": "runs.name",
  "Run Name": "runs.name",
  status: "runs.status",
  artifact_uri: "runs.artifact_uri",
  user_id: "runs.user_id",
  start_time: "runs.start_time",
  created: "runs.start_time",
  Created: "runs.start_time",
  end_time: "runs.end_time",
};

const spec: SearchSpec = {
  entities: {
    attribute: "attribute",
    attributes: "attribute",
    attr: "attribute",
    run: "attribute",
    metric: "metric",
    metrics: "metric",
    parameter: "param",
    parameters: "param",
    param: "param",
    params: "param",
    tag: "tag",
    tags: "tag",
    dataset: "dataset",
    datasets: "dataset",
  },
  attributes,
  numeric: ["start_time", "end_time", "created", "Created"],
  listed: ["run_id"],
  orderable: Object.keys(attributes),
  nullable: ["tag", "param"],
};

/** Rows of `runs` that fit, in order. Runs without what they are ordered by come last, those with NaN just before them. */
export function searchRuns(db: Database, search: RunSearch): Page<Row> {
  const { experimentIds, filter, orderBy = [], viewType = "ACTIVE_ONLY", maxResults, pageToken } = search;
  checkMaxResults(maxResults, maxSearchResults);
  const ids = experimentIds.map(parseExperimentId);
  const stages = stagesOf(viewType);
  const where = joinConditions([
    inList("runs.experiment", ids),
    inList("runs.lifecycle_stage", stages),
    ...parseFilter(filter, spec).map(toCondition),
  ]);
  const { joins, order, values } = readOrders(orderBy);
  const offset = readPageToken(pageToken);
  const sql = `SELECT runs.* FROM runs ${joins} WHERE ${where.sql} ORDER BY ${order} LIMIT ? OFFSET ?`;
  return cutPage(db.all(sql, ...values, ...where.values, maxResults + 1, offset), offset, maxResults);
}

function toCondition(clause: Clause): Condition {
  switch (clause.type) {
    case "attribute":
      return compare(attributes[clause.key] ?? "", clause);
    case "param":
      return keyValueCondition("params", "params.run = runs.id", clause);
    case "tag":
      return keyValueCondition("tags", "tags.run = runs.id", clause);
    case "metric": {
      // NaN is unequal to everything, and neither more nor less.
      const { sql, values } = compare("m.value", clause);
      const fits = clause.comparator === "!=" ? `(${sql} OR m.is_nan = 1)` : `(${sql} AND m.is_nan = 0)`;
      return {
        sql: `EXISTS (SELECT 1 FROM latest_metrics m WHERE m.run = runs.id AND m.key = ? AND ${fits})`,
        values: [clause.key, ...values],
      };
    }
    case "dataset": {
      const { sql, values } = compare(clause.key === "context" ? "t.value" : `d.${clause.key}`, clause);
      const tags = clause.key === "context" ? `JOIN input_tags t ON t.input = i.id AND t.key = '${contextTag}'` : "";
      return {
        sql: `EXISTS (SELECT 1 FROM dataset_inputs i JOIN datasets d ON d.id = i.dataset ${tags} WHERE i.run = runs.id AND ${sql})`,
        values,
      };
    }
    default:
      throw invalid(`${String(clause.type)} is nothing to search runs by.`);
  }
}

const orderTables: Readonly<Record<string, string>> = { metric: "latest_metrics", param: "params", tag: "tags" };

function readOrders(orderBy: readonly string[]): { joins: string; order: string; values: SQLInputValue[] } {
  const joins: string[] = [];
  const order: string[] = [];
  const values: SQLInputValue[] = [];
  const seen = new Set<string>();
  for (const text of orderBy) {
    const { type, key, ascending } = parseOrder(text, spec);
    const direction = ascending ? "ASC" : "DESC";
    const column = attributes[key];
    const name = type === "attribute" ? column : `${type}.${key}`;
    if (seen.has(name ?? "")) throw invalid(`order_by names ${quote(key)} twice.`);
    seen.add(name ?? "");
    if (type === "attribute") {
      order.push(`${column} IS NULL`, `${column} ${direction}`);
      continue;
    }
    const table = orderTables[type];
    if (table === undefined) throw invalid(`order_by ${quote(text)}: runs are not ordered by data sets.`);
    const alias = `o${joins.length}`;
    joins.push(`LEFT JOIN ${table} ${alias} ON ${alias}.run = runs.id AND ${alias}.key = ?`);
    values.push(key);
    const last =
      type === "metric" ? `CASE WHEN ${alias}.is_nan = 1 THEN 1 WHEN ${alias}.value IS NULL THEN 2 ELSE 0 END` : `${alias}.value IS NULL`;
    order.push(last, `${alias}.value ${direction}`);
  }
  if (!seen.has("runs.start_time")) order.push("runs.start_time DESC");
  order.push("runs.run_id");
  return { joins: joins.join(" "), order: order.join(", "), values };
}
