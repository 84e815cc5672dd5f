import { join } from "node:path";
import { ServalError } from "../errors/serval-error.ts";
import { readIfThere, writeFileAtomic } from "../files.ts";

/** One line of results.csv: what an epoch gave. */
export interface EpochResult {
  /** From 1. */
  readonly epoch: number;
  /** Training time since the run began, in seconds; the time between a stop and a resume does not count. */
  readonly timeSeconds: number;
  readonly imagesPerSecond: number;
  /** At the last step of the epoch. */
  readonly learningRate: number;
  /** As the optimizer saw it: with label smoothing, random crops and dropout. */
  readonly trainLoss: number;
  readonly trainAccuracy: number;
  /** Mean negative log-likelihood, as in `Metrics`. */
  readonly valLoss: number;
  readonly valAccuracy: number;
  /** Macro averages. */
  readonly valPrecision: number;
  readonly valRecall: number;
  readonly valF1: number;
}

export const resultsFile: string = "results.csv";

interface Column {
  readonly key: keyof EpochResult;
  readonly name: string;
  /** Significant digits: enough to plot and compare, short enough to read. */
  readonly digits: number;
}

const columns: readonly Column[] = [
  { key: "epoch", name: "epoch", digits: 12 },
  { key: "timeSeconds", name: "time_s", digits: 6 },
  { key: "imagesPerSecond", name: "images_per_second", digits: 5 },
  { key: "learningRate", name: "learning_rate", digits: 6 },
  { key: "trainLoss", name: "train_loss", digits: 6 },
  { key: "trainAccuracy", name: "train_accuracy", digits: 6 },
  { key: "valLoss", name: "val_loss", digits: 6 },
  { key: "valAccuracy", name: "val_accuracy", digits: 6 },
  { key: "valPrecision", name: "val_precision", digits: 6 },
  { key: "valRecall", name: "val_recall", digits: 6 },
  { key: "valF1", name: "val_f1", digits: 6 },
];

/** Values are rounded to 5 or 6 significant digits; NaN and infinities stay what they are, so that a diverged run shows it. */
function formatResults(rows: readonly EpochResult[]): string {
  const lines = rows.map((row) => columns.map(({ key, digits }) => String(Number(row[key].toPrecision(digits)))).join(","));
  return [columns.map(({ name }) => name).join(","), ...lines, ""].join("\n");
}

/** `path` is named in messages. Throws E_RESULTS with the line that is not what it should be. */
export function parseResults(text: string, path: string): EpochResult[] {
  const [header, ...lines] = text.replaceAll("\r\n", "\n").trimEnd().split("\n");
  const expected = columns.map(({ name }) => name).join(",");
  if (header !== expected)
    throw new ServalError("E_RESULTS", `${path}, line 1: expected "${expected}", got ${JSON.stringify(header ?? "")}.`);
  let previous = 0;
  return lines.map((line, i) => {
    const cells = line.split(",");
    const values = columns.map(({ key }, c) => [key, parseNumber(cells[c])] as const);
    const row = Object.fromEntries(values) as unknown as EpochResult;
    if (cells.length !== columns.length || values.some(([, value]) => value === undefined)) {
      throw new ServalError("E_RESULTS", `${path}, line ${i + 2}: expected ${columns.length} numbers, got ${JSON.stringify(line)}.`);
    }
    if (!Number.isInteger(row.epoch) || row.epoch <= previous) {
      throw new ServalError("E_RESULTS", `${path}, line ${i + 2}: expected an epoch after ${previous}, got ${row.epoch}.`);
    }
    previous = row.epoch;
    return row;
  });
}

function parseNumber(cell: string | undefined): number | undefined {
  if (cell === undefined || cell.trim() === "") return undefined;
  const value = Number(cell);
  return Number.isNaN(value) && cell !== "NaN" ? undefined : value;
}

/** The epochs in a run folder's results.csv; none where the file is not there yet. */
export async function readResults(runDir: string): Promise<EpochResult[]> {
  const path = join(runDir, resultsFile);
  const text = await readIfThere(path);
  return text === undefined ? [] : parseResults(text, path);
}

export interface ResultsLog {
  readonly rows: readonly EpochResult[];
  /** Adds the next epoch; the file is whole at every moment. */
  append(row: EpochResult): Promise<void>;
}

/**
 * Opens a run's results.csv to write. `completedEpochs` is how many epochs the run has behind it: 0 for a new one; on a
 * resume, what the checkpoint says. Rows beyond it come from epochs that are trained again, and are dropped. An epoch
 * that a crash kept from being written is missing, and no reason to refuse the resume. Throws E_RESULTS where the file
 * cannot be read.
 */
export async function openResults(runDir: string, completedEpochs: number = 0): Promise<ResultsLog> {
  const path = join(runDir, resultsFile);
  const rows = completedEpochs === 0 ? [] : (await readResults(runDir)).filter((row) => row.epoch <= completedEpochs);
  await writeFileAtomic(path, formatResults(rows));
  return {
    rows,
    async append(row) {
      const last = rows.at(-1)?.epoch ?? 0;
      if (row.epoch <= last) throw new ServalError("E_RESULTS", `${path}: expected an epoch after ${last}, got ${row.epoch}.`);
      rows.push(row);
      await writeFileAtomic(path, formatResults(rows));
    },
  };
}
