/** Rows in columns that are as wide as their widest cell; the first row is the head. Numbers are aligned right. */
export function renderTable(rows: readonly (readonly string[])[]): string {
  const count = Math.max(0, ...rows.map((row) => row.length));
  const widths = Array.from({ length: count }, (_, i) => Math.max(...rows.map((row) => Array.from(row[i] ?? "").length)));
  const isNumber = Array.from({ length: count }, (_, i) => rows.slice(1).every((row) => /^([-+]?[\d.,e+-]+ ?%?|-|)$/.test(row[i] ?? "")));
  const line = (row: readonly string[]): string =>
    row
      .map((cell, i) => (isNumber[i] ? cell.padStart(widths[i] ?? 0) : cell.padEnd(widths[i] ?? 0)))
      .join("  ")
      .trimEnd();
  return rows.map(line).join("\n");
}
