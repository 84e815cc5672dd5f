import { posix } from "node:path";
import type { PlotDefinition } from "../dvc-files/stage.ts";
import type { Version } from "./versions.ts";
import { parseDataText } from "../dvc-files/data-text.ts";
import { isList, isYamlMap, toPlain, type YamlValue } from "../dvc-files/yaml-values.ts";

/** A plot of dvc.yaml with the data of each version. */
export interface Plot {
  readonly title: string;
  readonly xName: string;
  readonly yName: string;
  /** Lines; for a picture, none. */
  readonly lines: readonly { readonly version: string; readonly name: string; readonly points: readonly (readonly [number, number])[] }[];
  readonly pictures: readonly { readonly version: string; readonly type: string; readonly bytes: Buffer }[];
  /** Why something is missing, for people. */
  readonly notes: readonly string[];
}

const pictureTypes: Readonly<Record<string, string>> = {
  ".png": "image/png",
  ".jpg": "image/jpeg",
  ".jpeg": "image/jpeg",
  ".gif": "image/gif",
  ".webp": "image/webp",
  ".svg": "image/svg+xml",
};

/** Reads the plots that the versions define; the definition of the last version that has one counts. */
export function readPlots(versions: readonly Version[]): Plot[] {
  const definitions = new Map(versions.flatMap(({ pipelines }) => pipelines.flatMap(({ plots }) => plots.map((plot) => [plot.id, plot]))));
  return [...definitions.values()].map((definition) => readPlot(definition, versions));
}

function readPlot(definition: PlotDefinition, versions: readonly Version[]): Plot {
  const { id, dir, properties } = definition;
  const text = (key: string): string | undefined => (typeof properties[key] === "string" ? properties[key] : undefined);
  const notes: string[] = [];
  const type = isYamlMap(properties["y"]) ? undefined : pictureTypes[posix.extname(id).toLowerCase()];
  const path = posix.join(dir, id);
  const title = text("title") ?? id;
  if (type !== undefined) {
    const pictures = versions.flatMap((version) => {
      const bytes = version.read(path);
      if (bytes === undefined) notes.push(`${version.name} has no ${path}.`);
      return bytes === undefined ? [] : [{ version: version.name, type, bytes }];
    });
    return { title, xName: "", yName: "", lines: [], pictures, notes };
  }
  const wanted = columnsOf(properties["y"], id);
  const xColumns = columnsOf(properties["x"], id);
  const lines: Plot["lines"][number][] = [];
  const xColumn = xColumns[0]?.column;
  for (const { file, column } of wanted) {
    for (const version of versions) {
      const at = posix.join(dir, file);
      const bytes = version.read(at);
      const rows = bytes === undefined ? undefined : readRows(bytes.toString("utf8"), at);
      if (rows === undefined) {
        notes.push(`${version.name} has no table ${at}.`);
        continue;
      }
      const y = column ?? Object.keys(rows[0] ?? {}).at(-1) ?? "";
      const points = rows.flatMap((row, i): [number, number][] => {
        const [a, b] = [xColumn === undefined ? i : Number(row[xColumn]), Number(row[y])];
        return Number.isFinite(a) && Number.isFinite(b) && row[y] !== "" ? [[a, b]] : [];
      });
      if (points.length === 0)
        notes.push(`${at} of ${version.name} has no numbers in "${y}"${xColumn === undefined ? "" : ` over "${xColumn}"`}.`);
      else lines.push({ version: version.name, name: y, points });
    }
  }
  const yNames = [...new Set(lines.map(({ name }) => name))];
  return {
    title,
    xName: text("x_label") ?? xColumn ?? "step",
    yName: text("y_label") ?? (yNames.length === 1 ? (yNames[0] ?? "") : ""),
    lines,
    pictures: [],
    notes,
  };
}

/** `y: loss`, `y: [loss, acc]`, `y: {file.csv: [loss]}`; without any, the last column of the file that the plot is called by. */
function columnsOf(value: YamlValue | undefined, id: string): { file: string; column: string | undefined }[] {
  const names = (item: YamlValue): string[] => (isList(item) ? item : [item]).flatMap((one) => (typeof one === "string" ? [one] : []));
  if (value === undefined) return [{ file: id, column: undefined }];
  if (isYamlMap(value)) return [...value].flatMap(([file, item]) => names(item).map((column) => ({ file, column })));
  return names(value).map((column) => ({ file: id, column }));
}

/** The rows of a CSV, TSV, JSON or YAML file; undefined where it has no list of rows. */
function readRows(text: string, file: string): Record<string, unknown>[] | undefined {
  const extension = posix.extname(file).toLowerCase();
  if (extension === ".csv" || extension === ".tsv") {
    const [head, ...lines] = text.split(/\r?\n/).filter((line) => line !== "");
    const cells = (line: string): string[] =>
      line.split(extension === ".csv" ? "," : "\t").map((cell) => cell.trim().replace(/^"(.*)"$/, "$1"));
    const names = cells(head ?? "");
    return lines.map((line) => Object.fromEntries(cells(line).map((cell, i) => [names[i] ?? String(i), cell])));
  }
  if (![".json", ".yaml", ".yml"].includes(extension)) return undefined;
  const value = toPlain(parseDataText(text, file));
  // DVC as well takes the first list that it meets.
  const list = Array.isArray(value) ? value : Object.values(value ?? {}).find(Array.isArray);
  return list?.filter((row): row is Record<string, unknown> => typeof row === "object" && row !== null);
}
