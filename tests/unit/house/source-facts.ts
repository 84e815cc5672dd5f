import { parseSync, Visitor, type Argument, type CallExpression, type Expression, type MemberExpression } from "oxc-parser";

/** Something in a source file that a rule may forbid, with its line. */
export interface Sighting {
  readonly text: string;
  readonly line: number;
}

/** What the house rules need to know about one source file. Read from the syntax tree, so comments and strings cannot fool it. */
export interface SourceFacts {
  /** Every module named by a static, type, dynamic or re-exporting import, or by `new URL("…", import.meta.url)`. */
  readonly imports: readonly Sighting[];
  /** The `new URL("…", import.meta.url)` among them: files that are started as workers. */
  readonly workers: readonly string[];
  /** Members of the global `process` that are touched: `env`, `exit`, … */
  readonly processMembers: readonly Sighting[];
  /** `Error` and its built-in subclasses that are constructed. */
  readonly errorsMade: readonly Sighting[];
  readonly consoleCalls: readonly Sighting[];
  /** Statements that run when the module is imported, beside declarations. */
  readonly topLevelStatements: readonly Sighting[];
  /** Statements that are not `export … from`. */
  readonly ownCode: readonly Sighting[];
  /** String literals and template texts. */
  readonly strings: readonly string[];
  /** Every function and method, also those inside others; the text is its name. */
  readonly functions: readonly (Sighting & { readonly lines: number })[];
  /** `readFile(…).catch(() => …)`: takes every failure for a file that is not there. */
  readonly blindReads: readonly Sighting[];
}

const builtInErrors = new Set([
  "Error",
  "AggregateError",
  "EvalError",
  "RangeError",
  "ReferenceError",
  "SyntaxError",
  "TypeError",
  "URIError",
]);
const declarations = new Set([
  "ImportDeclaration",
  "ExportNamedDeclaration",
  "ExportAllDeclaration",
  "ExportDefaultDeclaration",
  "FunctionDeclaration",
  "ClassDeclaration",
  "VariableDeclaration",
  "TSInterfaceDeclaration",
  "TSTypeAliasDeclaration",
]);

export function readFacts(path: string, text: string): SourceFacts {
  const { program, errors } = parseSync(path, text, { lang: "ts", sourceType: "module" });
  if (errors[0]) throw new Error(`${path}: ${errors[0].message}`);
  const lineStarts = [0, ...[...text.matchAll(/\n/g)].map((match) => match.index + 1)];
  const lineOf = (offset: number): number => lineStarts.findLastIndex((start) => start <= offset) + 1;
  const facts = {
    imports: [] as Sighting[],
    workers: [] as string[],
    processMembers: [] as Sighting[],
    errorsMade: [] as Sighting[],
    consoleCalls: [] as Sighting[],
    strings: [] as string[],
    functions: [] as (Sighting & { lines: number })[],
    blindReads: [] as Sighting[],
  };
  /** The names that variables, methods and properties give to the functions that begin at these offsets. */
  const names = new Map<number, string>();
  const addName = (value: { readonly start: number } | null | undefined, name: { readonly start: number; readonly end: number }): void => {
    if (value) names.set(value.start, text.slice(name.start, name.end));
  };
  const addFunction = (
    node: { readonly start: number; readonly end: number },
    name = names.get(node.start) ?? "a function without a name",
  ): void => {
    const line = lineOf(node.start);
    facts.functions.push({ text: name, line, lines: lineOf(node.end - 1) - line + 1 });
  };
  /** A module name that is computed cannot be checked: it is reported as what it is. */
  const addImport = (source: Expression | Argument | null | undefined): string => {
    if (!source) return "";
    const written = text.slice(source.start, source.end);
    // A worker's file name ends in .ts here and in .js in the npm package: the one computed name that is allowed.
    const worker = /^`(\.{1,2}\/[\w./-]+)\$\{extname\(import\.meta\.url\)\}`$/.exec(written)?.[1];
    const literal = source.type === "Literal" && typeof source.value === "string" ? source.value : undefined;
    const name = literal ?? (worker === undefined ? `<computed ${written}>` : `${worker}.ts`);
    facts.imports.push({ text: name, line: lineOf(source.start) });
    return name;
  };
  const addProcess = (member: string, offset: number): void => void facts.processMembers.push({ text: member, line: lineOf(offset) });
  const addMade = (callee: Expression, offset: number): void => {
    if (callee.type === "Identifier" && builtInErrors.has(callee.name)) facts.errorsMade.push({ text: callee.name, line: lineOf(offset) });
  };
  new Visitor({
    ImportDeclaration(node) {
      addImport(node.source);
      if (/^(node:)?process$/.test(node.source.value)) addProcess("import", node.start);
    },
    ExportNamedDeclaration: (node) => void addImport(node.source),
    ExportAllDeclaration: (node) => void addImport(node.source),
    ImportExpression: (node) => void addImport(node.source),
    TSImportType: (node) => void addImport(node.source),
    TSExternalModuleReference: (node) => void addImport(node.expression),
    NewExpression(node) {
      addMade(node.callee, node.start);
      const [name, base] = node.arguments;
      if (
        node.callee.type === "Identifier" &&
        node.callee.name === "URL" &&
        base &&
        text.slice(base.start, base.end) === "import.meta.url"
      ) {
        facts.workers.push(addImport(name));
      }
    },
    CallExpression(node) {
      addMade(node.callee, node.start);
      const callee = text.slice(node.callee.start, node.callee.end);
      if (callee === "require" || callee === "import.meta.resolve") addImport(node.arguments[0]);
      if (isBlindRead(node)) facts.blindReads.push({ text: callee, line: lineOf(node.start) });
      for (const argument of node.arguments)
        if (!names.has(argument.start)) names.set(argument.start, `an argument of ${callee.split("\n")[0]}`);
      if (callee.startsWith("console.")) facts.consoleCalls.push({ text: callee, line: lineOf(node.start) });
    },
    MemberExpression(node) {
      if (/^(globalThis\.|global\.)?process$/.test(text.slice(node.object.start, node.object.end)))
        addProcess(memberName(node, text), node.start);
    },
    FunctionDeclaration: (node) => addFunction(node, node.id?.name),
    FunctionExpression: (node) => addFunction(node),
    ArrowFunctionExpression: (node) => addFunction(node),
    MethodDefinition: (node) => addName(node.value, node.key),
    PropertyDefinition: (node) => addName(node.value, node.key),
    Property: (node) => addName(node.value, node.key),
    VariableDeclarator(node) {
      addName(node.init, node.id);
      // `const { env } = process` and `const p = process` would hide what is read.
      if (node.init && /^(globalThis\.|global\.)?process$/.test(text.slice(node.init.start, node.init.end))) {
        if (node.id.type !== "ObjectPattern") addProcess("alias", node.start);
        else
          for (const property of node.id.properties)
            addProcess(text.slice(property.start, property.end).split(/[:=\s]/)[0] ?? "", node.start);
      }
    },
    Literal(node) {
      if (typeof node.value === "string") facts.strings.push(node.value);
    },
    TemplateElement(node) {
      facts.strings.push(node.value.raw);
    },
  }).visit(program);
  // `declare module` only says something to the type checker.
  const statements = program.body
    .filter((node) => node.type !== "TSModuleDeclaration" || !node.declare)
    .map((node) => ({
      node,
      text: text.slice(node.start, node.end).split("\n")[0] ?? "",
      line: lineOf(node.start),
    }));
  return {
    ...facts,
    topLevelStatements: statements.filter(({ node }) => !declarations.has(node.type)),
    ownCode: statements.filter(
      ({ node }) => node.type !== "ExportAllDeclaration" && !(node.type === "ExportNamedDeclaration" && node.source !== null),
    ),
  };
}

function memberName(node: MemberExpression, text: string): string {
  if (!node.computed) return node.property.type === "Identifier" ? node.property.name : "?";
  return node.property.type === "Literal"
    ? String(node.property.value)
    : `<computed ${text.slice(node.property.start, node.property.end)}>`;
}

/** A `catch` of a read that does not look at the error. */
function isBlindRead({ callee, arguments: [handler] }: CallExpression): boolean {
  if (callee.type !== "MemberExpression" || callee.computed || callee.property.type !== "Identifier" || callee.property.name !== "catch")
    return false;
  if (handler?.type !== "ArrowFunctionExpression" && handler?.type !== "FunctionExpression") return false;
  const read = callee.object;
  if (handler.params.length > 0 || read.type !== "CallExpression") return false;
  const name = read.callee.type === "MemberExpression" && !read.callee.computed ? read.callee.property : read.callee;
  return name.type === "Identifier" && name.name === "readFile";
}
