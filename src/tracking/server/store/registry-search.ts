import type { KeyValue } from "../../key-value.ts";
import type { Clause } from "../search/filter.ts";
import { keyValueCondition, type Condition } from "../search/sql.ts";

export interface RegistrySearch {
  readonly filter?: string | undefined;
  readonly orderBy?: readonly string[] | undefined;
  readonly maxResults: number;
  readonly pageToken?: string | undefined;
}

/** MLflow keeps prompts of language models in the registry too, marked by this tag; who does not ask for them sees models only. */
const promptTag = "mlflow.prompt.is_prompt";

export function isPrompt(tags: readonly KeyValue[]): boolean {
  return tags.findLast(({ key }) => key === promptTag)?.value.toLowerCase() === "true";
}

/** Leaves out what is a prompt, unless the filter asks for prompts. `model` is the column with the registered model's key. */
export function withoutPrompts(clauses: readonly Clause[], model: string): Condition[] {
  const asked = clauses.find(({ type, key }) => type === "tag" && key === promptTag);
  const value = String(asked?.value).toLowerCase();
  if (asked && ((asked.comparator === "=" && value === "true") || (asked.comparator === "!=" && value === "false"))) return [];
  const sql = `NOT EXISTS (SELECT 1 FROM registered_model_tags p WHERE p.model = ${model} AND p.key = '${promptTag}' AND p.value = 'true')`;
  return [{ sql, values: [] }];
}

/** A condition on a tag. "Is not a prompt" was handled above: it also holds for versions without the tag. */
export function registryTagCondition(table: string, column: string, owner: string, clause: Clause): Condition[] {
  const isNoPrompt = clause.key === promptTag && (clause.comparator === "!=") === (String(clause.value).toLowerCase() === "true");
  return isNoPrompt ? [] : [keyValueCondition(table, `${table}.${column} = ${owner}`, clause)];
}
