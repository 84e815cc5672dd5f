import { ServalError } from "../errors/serval-error.ts";

const needed = [24, 12] as const;

/** Throws E_NODE_VERSION where Node is older than package.json asks for: npm only warns, and what fails later does not say why. */
export function requireNode(): void {
  const { node: version } = process.versions;
  const [major = 0, minor = 0] = version.split(".").map(Number);
  if (major > needed[0] || (major === needed[0] && minor >= needed[1])) return;
  throw new ServalError("E_NODE_VERSION", `Serval needs Node ${needed.join(".")} or newer; this is Node ${version}, ${process.execPath}.`);
}
