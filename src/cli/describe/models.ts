import { accuracyTag, digestTag, forcedTag, promotionTag, rollbackTag } from "../../registry/versions.ts";
import { thousands } from "../../text.ts";
import type { ModelVersion } from "../../tracking/client/wire.ts";
import type { RegisterReport } from "../../workflows/registry/register-model.ts";
import type { ModelList, RegisteredRow, ShownModel } from "../../workflows/registry/list-models.ts";
import type { ReleasedModel } from "../../workflows/registry/release-model.ts";
import { renderTable } from "./table.ts";

/** What `serval models list` prints. */
export function describeModelList({ released, registered }: ModelList): string {
  return [describeReleasedList(released), ...(registered.length > 0 ? ["", describeRegisteredList(registered)] : [])].join("\n");
}

function describeReleasedList(rows: ModelList["released"]): string {
  if (rows.length === 0) return "No model is released. `serval models release` copies the trained one to models/.";
  const width = Math.max(...rows.map(({ released }) => released.length));
  return rows
    .map(({ released, version, labels = [], metrics = {}, error }) => {
      const facts = error
        ? `${error.code}: ${error.message}`
        : [version, `${labels.length} classes`, ...describeMetrics(metrics, ["accuracy"])].join("  ") + describeCount(metrics);
      return `${released.padEnd(width)}  ${facts}`;
    })
    .join("\n");
}

/** An accuracy says little without the number of pictures that it is of. */
function describeCount({ accuracy, count }: Readonly<Record<string, number>>): string {
  return accuracy === undefined || count === undefined ? "" : ` on ${thousands(count)} validation ${count === 1 ? "picture" : "pictures"}`;
}

function describeMetrics(metrics: Readonly<Record<string, number>>, names: readonly string[]): string[] {
  return names.filter((name) => name in metrics).map((name) => `${name} ${metrics[name]?.toFixed(4)}`);
}

/** What `serval models show` prints of a bundle. */
export function describeModel({ version, manifest, provenance }: ShownModel, dir: string): string {
  const { name, labels, preprocess, abstainBelow, metrics, dataVersion, paramsHash, seed, checks, files } = manifest;
  const { width, height, fit, kernel, crop } = preprocess;
  const input = `${width}x${height} ${fit} ${kernel}${crop ? `, centre ${crop.width}x${crop.height}` : ""}`;
  const facts: [string, string][] = [
    ["model", `${name}, version ${version}, in ${dir}`],
    ["labels", labels.join(", ")],
    ["input", input],
    ["metrics", describeMetrics(metrics, Object.keys(metrics)).join(", ") || "none"],
    [
      "abstains",
      abstainBelow === null ? "never: no confidence was shown to be high enough" : `below a confidence of ${abstainBelow.toPrecision(4)}`,
    ],
    ["data", dataVersion],
    ["params", `${paramsHash}, seed ${seed}`],
    ["checks", `${checks.length} known-answer images`],
    ["files", Object.keys(files).join(", ")],
    ...Object.entries(provenance ?? {}).map(([key, value]): [string, string] => [
      key,
      typeof value === "string" ? value : JSON.stringify(value),
    ]),
  ];
  const widest = Math.max(...facts.map(([key]) => key.length));
  return facts.map(([key, value]) => `${key.padEnd(widest)}  ${value}`).join("\n");
}

/** What `serval models release` prints. */
export function describeReleased({ dir, version, checks, changed, evaluated }: ReleasedModel): string {
  const text = changed ? `Released version ${version} as ${dir}; ${checks} checks passed.` : `${dir} is version ${version} already.`;
  const card = evaluated ? "" : "\n  Its card has no figures on the test split: `serval evaluate`, then release it again.";
  return `${text}${card}`;
}

/** What `serval models register` prints. */
export function describeRegistered({ name, version, digest, created, page }: RegisterReport): string {
  const which = `version ${version} of ${name} (bundle ${digest.slice(0, 12)})`;
  return [
    created ? `Registered ${which}: ${page}` : `This bundle is ${which} already: ${page}`,
    `Next: serval models promote ${name}/${version}`,
  ].join("\n");
}

function describeRegisteredList(rows: readonly RegisteredRow[]): string {
  return renderTable([
    ["registered", "newest", "aliases"],
    ...rows.map(({ registered, aliases, versions }) => [registered, versions[0]?.version ?? "", describeAliases(aliases)]),
  ]);
}

/** The versions of a registered model, one line each. */
export function describeVersions({ registered, aliases, versions }: RegisteredRow): string {
  const table = renderTable([
    ["version", "aliases", "bundle", "accuracy", "registered", "promoted", "remark"],
    ...versions.map(({ version, tags, createdAt }) => [
      version,
      Object.keys(aliases)
        .filter((alias) => aliases[alias] === version)
        .sort()
        .join(", "),
      tags[digestTag]?.slice(0, 12) ?? "(not Serval's)",
      tags[accuracyTag] === undefined ? "" : Number(tags[accuracyTag]).toFixed(4),
      minute(new Date(createdAt).toISOString()),
      minute(readRecord(tags[promotionTag]).at),
      remarks(tags),
    ]),
  ]);
  return versions.length === 0 ? `${registered} has no version yet.` : `${registered}\n${table}`;
}

function remarks(tags: ModelVersion["tags"]): string {
  const { at, reason } = readRecord(tags[rollbackTag]);
  const forced = tags[forcedTag] === undefined ? [] : [`forced: ${tags[forcedTag]}`];
  const left = at === undefined ? [] : [`rolled back: ${reason ?? minute(at)}`];
  return [...forced, ...left].join("; ");
}

/** A tag that holds JSON; edited by hand on the server's page, it loses no more than the remark. */
function readRecord(text: string | undefined): { readonly at?: string; readonly reason?: string } {
  try {
    return JSON.parse(text ?? "{}") as { at?: string; reason?: string };
  } catch {
    return {};
  }
}

function minute(iso: string = ""): string {
  return iso.slice(0, 16).replace("T", " ");
}

function describeAliases(aliases: Readonly<Record<string, string>>): string {
  const names = Object.keys(aliases).sort();
  return names.map((alias) => `${alias}: ${aliases[alias]}`).join(", ");
}
