import { lineChart } from "../../charts/line-chart.ts";
import { chartSvg } from "../../charts/svg.ts";
import { show } from "../run/changes.ts";
import { flattenFiles, numericDifference, readMetricFiles, readParamFiles, toNumber, type ValuesByFile } from "./compare.ts";
import { readPlots, type Plot } from "./plots.ts";
import type { Version } from "./versions.ts";
import { sameValue, type YamlValue } from "../dvc-files/yaml-values.ts";
import { escapeHtml } from "../../text.ts";

/** One HTML page, with everything in it, that shows versions side by side: parameters, metrics, curves and pictures. */
export function renderPlotsPage(title: string, versions: readonly Version[]): string {
  const names = versions.map(({ name }) => name);
  const plots = readPlots(versions);
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escapeHtml(`${title}: ${names.join(" and ")}`)}</title>
<style>
body { font: 15px/1.5 Helvetica, Arial, "DejaVu Sans", sans-serif; color: #1f2933; max-width: 1360px; margin: 0 auto; padding: 16px; }
h1 { font-size: 22px } h2 { font-size: 18px; margin: 32px 0 8px }
.grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 560px), 1fr)); gap: 20px }
figure { margin: 0; border: 1px solid #e4e8ee; border-radius: 8px; padding: 8px; overflow: hidden }
figure svg, figure img { width: 100%; height: auto; display: block }
figcaption, .note { color: #5f6c7b; font-size: 13px }
.table { overflow-x: auto } table { border-collapse: collapse }
th, td { text-align: left; padding: 4px 14px 4px 0; border-bottom: 1px solid #e4e8ee; white-space: nowrap }
td.number { text-align: right; font-variant-numeric: tabular-nums }
tr.changed td { background: #fff4d6 }
</style>
</head>
<body>
<h1>${escapeHtml(title)}: ${names.map((name) => `<em>${escapeHtml(name)}</em>`).join(" and ")}</h1>
<h2>Metrics</h2>
${renderValues("metric", names, versions.map(readMetricFiles), true)}
<h2>Curves and pictures</h2>
${plots.length === 0 ? `<p class="note">dvc.yaml names no plots.</p>` : `<div class="grid">${plots.map((plot) => renderPlot(plot, names)).join("\n")}</div>`}
<h2>Parameters</h2>
${renderValues("parameter", names, versions.map(readParamFiles), false)}
</body>
</html>
`;
}

function renderValues(noun: string, names: readonly string[], versions: readonly ValuesByFile[], withDifference: boolean): string {
  const flat = versions.map(flattenFiles);
  const paths = [...new Set(flat.flatMap((files) => [...files.keys()]))].sort();
  const rows = paths.flatMap((path) => {
    const keys = [...new Set(flat.flatMap((files) => [...(files.get(path)?.keys() ?? [])]))];
    return keys.map((key) => {
      const values = flat.map((files) => files.get(path)?.get(key));
      const [first, last] = [values[0], values.at(-1)];
      const changed = values.length > 1 && !sameValue(first, last);
      const difference = changed ? numericDifference({ key, old: first, new: last }) : undefined;
      const change = difference === undefined ? "" : `${difference > 0 ? "+" : ""}${Number(difference.toPrecision(4))}`;
      const cells = [...values.map(renderCell), ...(withDifference && values.length > 1 ? [`<td class="number">${change}</td>`] : [])];
      return `<tr${changed ? ' class="changed"' : ""}><td>${escapeHtml(path)}</td><td>${escapeHtml(key)}</td>${cells.join("")}</tr>`;
    });
  });
  if (rows.length === 0) return `<p class="note">There are no ${noun}s.</p>`;
  const head = ["file", noun, ...names, ...(withDifference && names.length > 1 ? ["change"] : [])];
  return `<div class="table"><table><tr>${head.map((name) => `<th>${escapeHtml(name)}</th>`).join("")}</tr>\n${rows.join("\n")}</table></div>`;
}

function renderCell(value: YamlValue | undefined): string {
  const number = toNumber(value);
  if (number !== undefined) return `<td class="number">${Number.isInteger(number) ? number : Number(number.toPrecision(6))}</td>`;
  return `<td>${value === undefined ? "–" : escapeHtml(show(value))}</td>`;
}

function renderPlot({ title, xName, yName, lines, pictures, notes }: Plot, versions: readonly string[]): string {
  const parts: string[] = [];
  if (lines.length > 0) {
    const names = [...new Set(lines.map(({ name }) => name))];
    const series = lines.map(({ version, name, points }) => ({
      name: versions.length === 1 ? name : `${name} (${version})`,
      points,
      colour: names.indexOf(name),
      dashed: version !== versions.at(-1),
    }));
    parts.push(`<figure>${chartSvg(lineChart({ title, xName, yName, series }))}</figure>`);
  }
  for (const { version, type, bytes } of pictures) {
    const caption = `${escapeHtml(title)} <em>${escapeHtml(version)}</em>`;
    parts.push(
      `<figure><img alt="${caption.replaceAll(/<\/?em>/g, "")}" src="data:${type};base64,${bytes.toString("base64")}"><figcaption>${caption}</figcaption></figure>`,
    );
  }
  if (notes.length > 0) parts.push(`<figure><figcaption>${escapeHtml(title)}: ${notes.map(escapeHtml).join(" ")}</figcaption></figure>`);
  return parts.join("\n");
}
