/**
 * Prints the folders of src/ as a Markdown table: TypeScript files directly in each, their lines, the median and the largest.
 *
 *     npm run folders             # as they are here
 *     npm run folders -- COMMIT   # as a commit has them
 */
import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { join, posix } from "node:path";

const root = join(import.meta.dirname, "..");

/** Path below the repository -> number of lines. */
function countLines(commit: string | undefined): Map<string, number> {
  const git = (...args: string[]): string => execFileSync("git", args, { cwd: root, encoding: "utf8", maxBuffer: 1 << 26 });
  const names =
    commit === undefined
      ? readdirSync(join(root, "src"), { recursive: true, encoding: "utf8" }).map((name) => `src/${name.replaceAll("\\", "/")}`)
      : git("ls-tree", "-r", "--name-only", commit, "src").split("\n");
  const read = (path: string): string => (commit === undefined ? readFileSync(join(root, path), "utf8") : git("show", `${commit}:${path}`));
  return new Map(names.filter((name) => name.endsWith(".ts")).map((name) => [name, read(name).split("\n").length - 1]));
}

const folders = Map.groupBy(countLines(process.argv[2]), ([path]) => posix.dirname(path));
const rows = [...folders]
  .toSorted(([a], [b]) => (a < b ? -1 : 1))
  .map(([folder, files]) => {
    const lines = files.map(([, count]) => count).toSorted((a, b) => a - b);
    const sum = lines.reduce((total, count) => total + count, 0);
    const median = ((lines[Math.floor((lines.length - 1) / 2)] ?? 0) + (lines[Math.ceil((lines.length - 1) / 2)] ?? 0)) / 2;
    const [largest = ""] = files.filter(([, count]) => count === lines.at(-1)).map(([path]) => posix.basename(path));
    return `| \`${folder}\` | ${files.length} | ${sum} | ${Math.round(median)} | \`${largest}\` ${lines.at(-1)} |`;
  });
console.log(["| folder | files | lines | median | largest |", "|---|---|---|---|---|", ...rows].join("\n"));
