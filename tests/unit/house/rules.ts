import { posix } from "node:path";
import * as workingPaths from "../../../src/paths.ts";
import { readFacts, type SourceFacts } from "./source-facts.ts";

/** Which folder of src/ may import which others, `*` for all but cli; its own files it may always import, and the shared files as well. */
export const layers: Readonly<Record<string, readonly string[]>> = {
  threads: [],
  statistics: [],
  image: ["config", "threads"],
  charts: ["threads"],
  onnx: [],
  config: [],
  http: [],
  data: ["image", "http"],
  nn: ["onnx"],
  runtime: ["config/env", "onnx", "threads"],
  model: ["image", "onnx", "statistics"],
  tracking: ["charts", "http", "threads"],
  backbones: ["model", "nn", "onnx", "http"],
  evaluate: ["model", "image", "runtime", "data", "charts", "statistics"],
  train: ["config/params-schema", "evaluate", "backbones", "data", "nn", "onnx", "runtime", "model", "image", "charts", "threads"],
  quality: [],
  export: ["train", "evaluate", "data", "nn", "onnx", "runtime", "model", "image", "statistics"],
  registry: ["tracking/client", "model"],
  predictions: ["image", "threads"],
  monitor: ["image", "model", "predictions", "statistics", "threads", "tracking/client"],
  serve: ["model", "runtime", "image", "registry", "predictions", "monitor", "http", "threads"],
  deploy: ["config/yaml", "http"],
  pipeline: ["config/yaml", "charts", "threads"],
  workflows: ["*"],
  cli: ["*"],
};

/** Packages that one place keeps to itself, so that it can be replaced there. */
const packageOwners: Readonly<Record<string, readonly string[]>> = {
  sharp: ["image/"],
  "onnxruntime-node": ["runtime/onnxruntime.ts"],
  commander: ["cli/"],
  "@aws-sdk/client-s3": ["pipeline/remote/"],
  pg: ["predictions/postgres-store.ts"],
  "hyparquet-writer": ["predictions/table-format.ts"],
};

/** Files over 400 lines, each with the reason why it is not split. */
const longFiles: Readonly<Record<string, string>> = {};

/** What lies where in a working folder. Words that mean other things as well, such as models, cannot be told from them. */
const placesInFolder: ReadonlySet<string> = new Set(Object.values(workingPaths).filter((place) => /[./]/.test(place)));

/** The parts of `process` that any file may use; the rest belongs to one file each. */
const processOwners: Readonly<Record<string, string>> = {
  env: "config/env.ts",
  exit: "cli/main.ts",
  exitCode: "cli/main.ts",
  abort: "cli/main.ts",
  reallyExit: "cli/main.ts",
  import: "no file: use the global process",
  alias: "no file: write process.x",
};

/** Everyone may import these; a later one may import the ones before it. */
const shared = ["paths.ts", "text.ts", "errors/", "files.ts", "random.ts", "safe-path.ts"];
/** The drawn sample and the preset's address are the only places that know a subject. */
const subjectPlaces = ["data/sources/sample.ts", "data/sources/drawing/", "data/sources/preset.ts"];

/** Every breach of the house rules in `files` (path below src/ -> text), as `path:line: what`. */
export function findBreaches(files: ReadonlyMap<string, string>): string[] {
  const facts = new Map([...files].map(([path, text]) => [path, readFacts(path, text)]));
  const breaches: string[] = [];
  const graph = new Map<string, string[]>();
  const workers = new Set([...facts].flatMap(([path, { workers }]) => workers.map((name) => posix.join(posix.dirname(path), name))));
  for (const [path, fact] of facts) {
    const report = (line: number, text: string): void => void breaches.push(`${path}:${line}: ${text}`);
    graph.set(path, checkImports(path, fact, files, report));
    for (const { text, line } of fact.processMembers) {
      const owner = processOwners[text];
      if (text.startsWith("<computed")) report(line, `process[${text}] cannot be checked`);
      else if (owner !== undefined && owner !== path) report(line, `process.${text} belongs to ${owner}`);
    }
    for (const { text, line } of fact.errorsMade) {
      if (text === "Error") report(line, "new Error: use ServalError with a code");
    }
    for (const { text, line } of fact.consoleCalls) report(line, `${text}: commands print through Output, servers log`);
    if (path !== "cli/main.ts" && !workers.has(path)) {
      for (const { text, line } of fact.topLevelStatements) report(line, `work at import time: ${text}`);
    }
    if (path !== "index.ts" && fact.ownCode.length === 0 && fact.imports.length > 0) report(1, "src/index.ts is the only barrel");
    if (path === "index.ts") for (const { text, line } of fact.ownCode) report(line, `index.ts only re-exports: ${text}`);
    checkName(path, report);
    const written = path === "paths.ts" ? [] : fact.strings.filter((text) => placesInFolder.has(text));
    for (const text of new Set(written)) report(1, `"${text}" is a path of the working folder: paths.ts has its name`);
    checkText(path, files.get(path) ?? "", report);
  }
  for (const cycle of findCycles(graph)) breaches.push(`${cycle[0]}:1: cycle ${cycle.join(" -> ")}`);
  return breaches;
}

function checkImports(
  path: string,
  fact: SourceFacts,
  files: ReadonlyMap<string, string>,
  report: (line: number, text: string) => void,
): string[] {
  const targets: string[] = [];
  for (const { text, line } of fact.imports) {
    if (text.startsWith("<computed")) {
      report(line, `the imported module is ${text}, which cannot be checked`);
    } else if (text.startsWith(".")) {
      const target = posix.join(posix.dirname(path), text);
      if (target.startsWith("..")) report(line, `${text} lies outside src/`);
      else if (!files.has(target)) report(line, `${text} does not exist`);
      else {
        // A worker is a separate program: its file may import the types of the file that starts it.
        if (!fact.workers.includes(text)) targets.push(target);
        if (!mayImport(path, target)) report(line, `${folderOf(path)} may not import ${folderOf(target)} (${text})`);
      }
    } else if (text.startsWith("#") || text.startsWith("/") || text.startsWith("file:") || text === "serval") {
      report(line, `${text}: import our own files by relative path`);
    } else {
      const name = text
        .split("/")
        .slice(0, text.startsWith("@") ? 2 : 1)
        .join("/");
      const owners = packageOwners[name];
      if (owners && !owners.some((owner) => path === owner || (owner.endsWith("/") && path.startsWith(owner)))) {
        report(line, `only ${owners.join(", ")} imports ${name}`);
      }
    }
  }
  return targets;
}

function folderOf(path: string): string {
  return path.includes("/") ? (path.split("/")[0] ?? "") : path;
}

/** The place of a path among the shared files and folders, or -1. */
function sharedRank(path: string): number {
  return shared.findIndex((name) => path === name || (name.endsWith("/") && path.startsWith(name)));
}

function mayImport(from: string, to: string): boolean {
  const [home, target] = [folderOf(from), folderOf(to)];
  const [fromRank, toRank] = [sharedRank(from), sharedRank(to)];
  if (toRank >= 0) return fromRank < 0 || toRank < fromRank || home === target;
  if (to === "index.ts" || fromRank >= 0) return false;
  if (from === "index.ts") return true;
  if (from.startsWith("tracking/client") && to.startsWith("tracking/server/")) return false;
  if (home === target) return true;
  return (layers[home] ?? []).some(
    (allowed) => (allowed === "*" && target !== "cli") || to.startsWith(`${allowed}/`) || to === `${allowed}.ts`,
  );
}

function checkName(path: string, report: (line: number, text: string) => void): void {
  const folder = folderOf(path);
  if (path.includes("/") && !(folder in layers) && sharedRank(path) < 0) report(1, `the folder ${folder} is not in the layer table`);
  const loose = shared.filter((name) => !name.endsWith("/"));
  if (!path.includes("/") && !["index.ts", ...loose].includes(path)) {
    report(1, `only index.ts, ${loose.slice(0, -1).join(", ")} and ${loose.at(-1)} lie directly in src/`);
  }
  for (const part of path.replace(/\.ts$/, "").split("/")) {
    if (!/^[a-z0-9]+(-[a-z0-9]+)*$/.test(part)) report(1, `${part} is not kebab-case`);
    if (/^(utils?|helpers?|managers?|common|misc)$/.test(part)) report(1, `${part} says nothing about what is inside`);
  }
}

/** What anyone may import from yaml: it writes, or looks at what config/yaml.ts has parsed. */
const harmlessYaml = ["stringify", "isAlias", "isMap", "isScalar", "isSeq"];

function checkText(path: string, text: string, report: (line: number, text: string) => void): void {
  const lines = text.split("\n");
  for (const [statement, names = ""] of path === "config/yaml.ts" ? [] : text.matchAll(/^import ([^;]*) from "yaml(?:\/[^"]*)?";/gm)) {
    const line = text.slice(0, text.indexOf(statement)).split("\n").length;
    const imported = names
      .replaceAll(/[{}\s]/g, " ")
      .split(",")
      .map((name) => name.trim().replace(/^(\w+) as .*/, "$1"));
    const wrong = imported.filter((name) => name !== "" && !name.startsWith("type ") && !harmlessYaml.includes(name));
    if (wrong.length > 0) report(line, `only config/yaml.ts parses YAML, within limits (${wrong.join(", ")})`);
  }
  if (lines.length > 401 && !(path in longFiles)) report(1, `${lines.length - 1} lines: split it, or give a reason in longFiles`);
  if (path.startsWith("cli/commands/") && lines.length > 81) {
    report(1, `${lines.length - 1} lines: a verb is options, one call of a workflow and printing, in at most 80`);
  }
  if (subjectPlaces.some((place) => path.startsWith(place))) return;
  lines.forEach((line, i) => {
    const subject = /\b(cats?|dogs?|kittens?|pupp(y|ies))\b/i.exec(line);
    if (subject) report(i + 1, `src/ knows nothing about a ${subject[0]}`);
  });
}

/** The strongly connected components of more than one file, each as a closed path (Tarjan 1972). */
export function findCycles(graph: ReadonlyMap<string, readonly string[]>): string[][] {
  const order = new Map<string, number>();
  const low = new Map<string, number>();
  const stack: string[] = [];
  const cycles: string[][] = [];
  const visit = (node: string): void => {
    order.set(node, order.size);
    low.set(node, order.size - 1);
    stack.push(node);
    for (const next of graph.get(node) ?? []) {
      if (!order.has(next)) visit(next);
      if (stack.includes(next)) low.set(node, Math.min(low.get(node) ?? 0, low.get(next) ?? 0));
    }
    if (low.get(node) !== order.get(node)) return;
    const component = stack.splice(stack.indexOf(node));
    if (component.length > 1 || graph.get(node)?.includes(node)) cycles.push([...component.sort(), component[0] ?? node]);
  };
  for (const node of graph.keys()) if (!order.has(node)) visit(node);
  return cycles;
}
