import { parseSync, type Expression } from "oxc-parser";

const codePattern = /\bE(?:_[A-Z0-9]+)+(?!\w)/g;

/** A node of the syntax tree, for a walk that asks for few kinds of them. */
interface Node {
  readonly type: string;
  readonly start: number;
  readonly end: number;
}

/**
 * The error codes that a test file expects: those in the text inside a call of `expect` or of a function whose name begins so
 * (`expectError(reply, "E_REQUEST")`), with what is chained to it, and in the rows of `test.each`.
 */
export function expectedCodes(path: string, text: string): Set<string> {
  const { program, errors } = parseSync(path, text, { lang: "ts", sourceType: "module" });
  if (errors[0]) throw new Error(`${path}: ${errors[0].message}`);
  const found = new Set<string>();
  const visit = (node: unknown, inside: boolean): void => {
    if (Array.isArray(node)) for (const item of node) visit(item, inside);
    else if (isNode(node)) {
      const within = inside || (node.type === "CallExpression" && isExpectation((node as unknown as { callee: Expression }).callee, text));
      if (within && (node.type === "Literal" || node.type === "TemplateElement")) {
        for (const [code] of text.slice(node.start, node.end).matchAll(codePattern)) found.add(code);
      }
      for (const child of Object.values(node)) visit(child, within);
    }
  };
  visit(program, false);
  return found;
}

function isNode(value: unknown): value is Node {
  return typeof value === "object" && value !== null && "type" in value;
}

function isExpectation(callee: Expression, text: string): boolean {
  if (callee.type === "MemberExpression" && /^(?:test|it|describe)(?:\.\w+)*\.each$/.test(text.slice(callee.start, callee.end)))
    return true;
  let root: Expression | { readonly type: string } = callee;
  while (root.type === "MemberExpression" || root.type === "CallExpression") {
    root = root.type === "MemberExpression" ? (root as { object: Expression }).object : (root as { callee: Expression }).callee;
  }
  return root.type === "Identifier" && (root as { name: string }).name.startsWith("expect");
}
