import { ServalError, toServalError } from "../../errors/serval-error.ts";
import type { AbstainReason } from "../../predictions/prediction-store.ts";
import type { Column, Table } from "../../predictions/table-format.ts";
import type { Prediction } from "../../serve/model/predictor.ts";

/** One line of the output: the answer to a picture, or why there is none. What does not apply is null. */
export interface ScoredRow {
  /** As the source names the picture. */
  readonly path: string;
  /** The most probable label, also where the model abstains. */
  readonly label: string | null;
  /** Probability of `label`. */
  readonly confidence: number | null;
  readonly probabilities: Readonly<Record<string, number>> | null;
  /** Why a service that abstains would not give the label. */
  readonly reason: AbstainReason | null;
  /** How far the picture is from those of the training; null where the model does not know. */
  readonly outlier_score: number | null;
  /** Of the picture as it is stored. */
  readonly width: number | null;
  readonly height: number | null;
  readonly error: string | null;
  readonly message: string | null;
  readonly model_name: string;
  readonly model_version: string;
}

const kinds: Readonly<Record<keyof ScoredRow, Column<ScoredRow>["kind"]>> = {
  path: "text",
  label: "text",
  confidence: "number",
  probabilities: "object",
  reason: "text",
  outlier_score: "number",
  width: "integer",
  height: "integer",
  error: "text",
  message: "text",
  model_name: "text",
  model_version: "text",
};

export const scoredTable: Table<ScoredRow> = {
  name: "scores",
  columns: (Object.keys(kinds) as (keyof ScoredRow)[]).map((name) => ({ name, kind: kinds[name], of: (row) => row[name] })),
};

type Model = Prediction["model"];

export function answeredRow(path: string, { model, label, confidence, probabilities, doubt, place, size }: Prediction): ScoredRow {
  return {
    path,
    label,
    confidence,
    probabilities,
    reason: doubt,
    outlier_score: place?.outlierScore ?? null,
    width: size?.width ?? null,
    height: size?.height ?? null,
    error: null,
    message: null,
    model_name: model.name,
    model_version: model.version,
  };
}

/** The row of a picture that cannot be used. Throws what concerns every picture: a full disk, a bucket that does not answer. */
export function refusedRow(path: string, thrown: unknown, model: Model): ScoredRow {
  const failure = toServalError(thrown);
  if (!isOfOnePicture(failure)) throw thrown;
  return {
    path,
    label: null,
    confidence: null,
    probabilities: null,
    reason: null,
    outlier_score: null,
    width: null,
    height: null,
    error: failure.code,
    message: failure.message,
    model_name: model.name,
    model_version: model.version,
  };
}

function isOfOnePicture({ code, details }: ServalError): boolean {
  if (/^E_(IMAGE|ARCHIVE)_/.test(code)) return true;
  return ["E_FILE_NOT_FOUND", "E_PATH_LINK", "E_DOWNLOAD"].includes(code) || (code === "E_REMOTE_REFUSED" && "object" in details);
}
