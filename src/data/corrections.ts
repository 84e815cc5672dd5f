import { ServalError } from "../errors/serval-error.ts";
import { readIfThere } from "../files.ts";
import { labelOf } from "./layout/entry-names.ts";
import type { ManifestRow } from "./manifest.ts";

export const correctionActions = ["relabel", "exclude", "keep"] as const;
export type CorrectionAction = (typeof correctionActions)[number];

/** One line of data/corrections.jsonl: what somebody decided about a picture, or about a class. The field order here is the key order in the file. */
export interface Correction {
  /** The picture, by its bytes. Each line has this or `class`. */
  readonly sha256?: string;
  /** All pictures that have this label when the line is applied: renamed or merged by `relabel`, dropped by `exclude`. */
  readonly class?: string;
  readonly action: CorrectionAction;
  /** The new label; with `relabel`, and only there. */
  readonly label?: string;
  readonly by: string;
  /** ISO 8601. */
  readonly at: string;
  readonly why?: string;
}

export interface Corrections {
  /** Null where there is no file. */
  readonly lines: readonly Correction[] | null;
  /** Pictures whose latest line says that they are right as they are. */
  readonly keeps: ReadonlySet<string>;
}

export interface Corrected {
  readonly rows: ManifestRow[];
  readonly relabelled: number;
  readonly excluded: number;
  /** Lines about pictures and classes that are not in the data. */
  readonly unused: number;
}

/** Reads the corrections; E_CORRECTIONS names the line that is not one. */
export async function readCorrections(path: string): Promise<Corrections> {
  const text = await readIfThere(path);
  const lines = text === undefined ? null : parseCorrections(text, path);
  const latest = new Map((lines ?? []).flatMap(({ sha256, action }) => (sha256 === undefined ? [] : [[sha256, action] as const])));
  return { lines, keeps: new Set([...latest].filter(([, action]) => action === "keep").map(([sha256]) => sha256)) };
}

export function parseCorrections(text: string, where: string): Correction[] {
  return text.split("\n").flatMap((line, i) => (line.trim() === "" ? [] : [parseCorrection(line, `${where}:${i + 1}`)]));
}

export function formatCorrection({ sha256, class: name, action, label, by, at, why }: Correction): string {
  return `${JSON.stringify({ sha256, class: name, action, label, by, at, why })}\n`;
}

function parseCorrection(line: string, where: string): Correction {
  const wrong = (what: string, cause?: unknown): ServalError =>
    new ServalError("E_CORRECTIONS", `${where} ${what}: ${line.slice(0, 200)}`, { cause });
  let found: Partial<Record<keyof Correction, unknown>> | null;
  try {
    found = JSON.parse(line) as typeof found;
  } catch (error) {
    throw wrong("is not JSON", error);
  }
  if (found === null || typeof found !== "object") throw wrong("is not an object");
  const { sha256, class: name, action, label } = found;
  if ((sha256 === undefined) === (name === undefined)) throw wrong("has no sha256 and no class, or both; expected one of them");
  if (sha256 !== undefined && !isHash(sha256)) throw wrong("has a sha256 that is not 64 hexadecimal digits");
  if (name !== undefined && !isLabel(name)) throw wrong("has a class that is not a class name (lower case, without slashes)");
  if (!correctionActions.includes(action as CorrectionAction)) {
    throw wrong(`has the action ${JSON.stringify(action)}; expected ${correctionActions.join(", ")}`);
  }
  if (name !== undefined && action === "keep") throw wrong("keeps a class; expected relabel or exclude, or the sha256 of a picture");
  if ((action === "relabel") !== (label !== undefined)) throw wrong("has a label without relabel, or relabel without a label");
  if (label !== undefined && !isLabel(label)) throw wrong("has a label that is not a class name (lower case, without slashes)");
  const texts = [found.by, found.at, found.why ?? ""];
  if (!texts.every((text) => typeof text === "string") || found.by === "") throw wrong("lacks by or at; expected who decided it, and when");
  return found as unknown as Correction;
}

function isHash(value: unknown): boolean {
  return typeof value === "string" && /^[0-9a-f]{64}$/.test(value);
}

/** Whether a folder of this name would have this very label: corrections make no classes that an import could not. */
function isLabel(value: unknown): boolean {
  return typeof value === "string" && value !== "" && !value.includes("/") && labelOf(value) === value;
}

interface Decision {
  readonly label?: string;
  readonly isExcluded: boolean;
}

/**
 * The rows as they are after all corrections, in the order of the lines: a later one about the same picture replaces the earlier one, and one about a class
 * applies to what has that label by then. `keep` takes back what was decided about the picture itself.
 */
export function applyCorrections(rows: readonly ManifestRow[], lines: readonly Correction[]): Corrected {
  const known = new Set(rows.map((row) => row.sha256));
  const labels = new Set(rows.map((row) => row.label));
  /** What a label of the source has become; null where the class was dropped. */
  const classes = new Map<string, string | null>();
  const pictures = new Map<string, Decision>();
  let unused = 0;
  for (const { sha256, class: name, action, label } of lines) {
    if (sha256 !== undefined) {
      if (!known.has(sha256)) unused++;
      else if (action === "keep") pictures.delete(sha256);
      else {
        pictures.set(sha256, { ...(label !== undefined && { label }), isExcluded: action === "exclude" });
        if (label !== undefined) labels.add(label);
      }
      continue;
    }
    if (name === undefined) continue;
    if (!labels.has(name)) unused++;
    const target = action === "relabel" ? (label as string) : null;
    for (const [from, to] of classes) if (to === name) classes.set(from, target);
    if (!classes.has(name)) classes.set(name, target);
    for (const [picture, one] of pictures) {
      if (one.label === name) pictures.set(picture, target === null ? { isExcluded: true } : { ...one, label: target });
    }
    if (target !== null) labels.add(target);
  }
  let [relabelled, excluded] = [0, 0];
  const kept = rows.flatMap((row) => {
    const own = pictures.get(row.sha256);
    const fromClass = classes.get(row.label);
    const label = own?.isExcluded === true ? null : (own?.label ?? (fromClass === undefined ? row.label : fromClass));
    if (label === null) excluded++;
    else if (label !== row.label) relabelled++;
    return label === null ? [] : [label === row.label ? row : { ...row, label }];
  });
  return { rows: kept, relabelled, excluded, unused };
}
