import { posix } from "node:path";
import { invalid } from "./refusal.ts";

/** MLflow's limits (mlflow/utils/validation.py), in characters. */
const maxKey = 250;
const maxParam = 6000;
const maxTag = 8000;
const maxExperimentTag = 20_000;
const maxRegistryTag = 100_000;
const maxExperimentName = 500;
const maxAlias = 255;

/** Letters of any script, as Python's `\w` has them. */
const keyPattern = /^[/\p{L}\p{N}_.\- :]*$/u;

/** The key of a metric, param or tag. It may become the name of a file elsewhere, so it must not lead anywhere as a path. */
export function checkKey(key: string, what: string): void {
  checkLength(key, maxKey, what);
  if (!keyPattern.test(key)) {
    throw invalid(`${what} ${JSON.stringify(key)}: expected letters, digits and _ - . space : / only.`);
  }
  const normal = posix.normalize(key);
  if (key === "" || normal !== key || normal === "." || normal.startsWith("..") || normal.startsWith("/") || normal.endsWith("/")) {
    throw invalid(`${what} ${JSON.stringify(key)}: as a path it would lead to ${JSON.stringify(normal)}; expected a plain name.`);
  }
}

/** MLflow cuts these two instead of refusing them. */
export const clipParam = (value: string): string => clip(value, maxParam);
export const clipTag = (value: string): string => clip(value, maxTag);

function clip(value: string, limit: number): string {
  return value.length > limit ? value.slice(0, limit) : value;
}

/** For what MLflow does not limit: as much as the longest value that it does limit. */
export const checkTextLength = (value: string, what: string): void => checkLength(value, maxRegistryTag, what);

export function checkExperimentName(name: string): void {
  if (name === "") throw invalid("name: expected the name of an experiment, got an empty one.");
  checkLength(name, maxExperimentName, "name");
}

export function checkExperimentTag(key: string, value: string): void {
  checkKey(key, "key");
  checkLength(value, maxExperimentTag, "value");
}

export function checkRegistryTag(key: string, value: string): void {
  checkKey(key, "key");
  checkLength(value, maxRegistryTag, "value");
}

export function checkModelName(name: string, what = "name"): void {
  if (name.trim() === "") throw invalid(`Missing value for required parameter '${what}'.`);
  if (/[/:]/.test(name))
    throw invalid(`${what} ${JSON.stringify(name)}: the name of a registered model may contain neither / nor a colon.`);
  const normal = posix.normalize(name);
  if (normal !== name || normal === "." || normal.startsWith("..")) {
    throw invalid(`${what} ${JSON.stringify(name)}: as a path it would lead to ${JSON.stringify(normal)}; expected a plain name.`);
  }
}

export function checkLoggedModelName(name: string): void {
  if (/[/:.%"']/.test(name)) throw invalid(`name ${JSON.stringify(name)}: the name of a logged model holds none of / : . % " '.`);
}

export function checkAlias(alias: string): void {
  checkLength(alias, maxAlias, "alias");
  if (!/^[\p{L}\p{N}_-]+$/u.test(alias)) throw invalid(`alias ${JSON.stringify(alias)}: expected letters, digits, _ and - only.`);
}

/** `latest` and `v3` mean versions already. */
export function checkAliasIsFree(alias: string): void {
  if (/^(latest|v\d+)$/i.test(alias)) throw invalid(`alias ${JSON.stringify(alias)} is reserved.`);
}

export function checkRunId(runId: string): void {
  if (!/^[a-zA-Z0-9][\w-]{0,255}$/.test(runId)) throw invalid(`run_id ${JSON.stringify(runId)}: expected letters, digits, _ and -.`);
}

/** Experiment ids are whole numbers that travel as text. */
export function parseExperimentId(text: string): number {
  if (/^\s*[+-]?\d{1,15}\s*$/.test(text)) return Number(text);
  throw invalid(`experiment_id ${JSON.stringify(text)}: expected a whole number.`);
}

export function parseVersion(text: string): number {
  if (/^\s*[+-]?\d{1,15}\s*$/.test(text)) return Number(text);
  throw invalid(`version ${JSON.stringify(text)}: expected a whole number.`);
}

function checkLength(value: string, limit: number, what: string): void {
  if (value.length > limit) throw invalid(`'${what}' exceeds the maximum length of ${limit} characters: got ${value.length}.`);
}

const adjectives = [
  "amber",
  "brisk",
  "calm",
  "deft",
  "eager",
  "fleet",
  "gentle",
  "hardy",
  "keen",
  "lucid",
  "mellow",
  "nimble",
  "proud",
  "quiet",
];
const animals = [
  "badger",
  "crane",
  "dormouse",
  "egret",
  "falcon",
  "genet",
  "heron",
  "ibex",
  "lynx",
  "marten",
  "otter",
  "plover",
  "serval",
  "wren",
];

/** The name of a run or model that was given none. */
export function drawName(): string {
  const one = (list: readonly string[]): string => list[Math.floor(Math.random() * list.length)] as string;
  return `${one(adjectives)}-${one(animals)}-${Math.floor(Math.random() * 1000)}`;
}
