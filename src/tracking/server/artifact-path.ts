import { relative, sep } from "node:path";
import { fileURLToPath } from "node:url";
import { findPathFault } from "../../safe-path.ts";
import { invalid, quote } from "./refusal.ts";

/**
 * The names along the path of an artifact, relative to the store; none for the store itself. Refuses whatever could lead out
 * of it on any system, also when it is encoded once or many times more than it should be.
 */
export function splitArtifactPath(path: string): string[] {
  let decoded = path;
  for (let i = 0; ; i++) {
    checkPlain(path, decoded);
    const further = decode(decoded);
    if (further === decoded) break;
    if (i === 10) throw unsafe(path, "is encoded more than ten times");
    decoded = further;
  }
  return splitNames(path);
}

/** As MLflow does, without the names that mean nothing. */
function splitNames(path: string): string[] {
  return path.split("/").filter((part) => part !== "" && part !== ".");
}

function checkPlain(path: string, decoded: string): void {
  if (decoded.startsWith("/") || /^file:/i.test(decoded)) throw unsafe(path, "is absolute");
  if (decoded.includes("#")) throw unsafe(path, "holds a #, which begins a fragment in an address");
  const names = splitNames(decoded);
  const fault = names.length === 0 ? undefined : findPathFault(names.join("/"));
  if (fault !== undefined) throw unsafe(path, fault);
}

function unsafe(path: string, fault: string): Error {
  return invalid(`The artifact path ${quote(path)} ${fault}: expected names with / between them, below the store.`);
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    // A name with a percent sign in it.
    return text;
  }
}

const scheme = "mlflow-artifacts:";

/** The path in our store behind an artifact URI; undefined where the files lie elsewhere, such as s3://. */
export function storedPath(uri: string): string | undefined {
  if (!uri.startsWith(scheme)) return undefined;
  return uri.slice(scheme.length).replace(/^\/+/, "");
}

/** The path below `root`, a folder of this machine, behind a `file:` address; undefined where it lies elsewhere. */
export function pathBelow(root: string, uri: string): string | undefined {
  const path = localPath(uri);
  if (path === undefined) return undefined;
  const below = relative(root, path).split(sep);
  return below[0] === ".." || below[0] === "" ? undefined : below.join("/");
}

/** The path of a `file:` address of this machine, which may have neither a host nor a fragment nor a query. */
function localPath(uri: string): string | undefined {
  if (!/^file:\/(?!\/[^/])/i.test(uri) || /[?#]/.test(uri)) return undefined;
  try {
    return fileURLToPath(uri);
  } catch {
    return undefined;
  }
}

/** Whether an address lies below another one, both of our own store or both of this machine. */
export function isWithin(inner: string, outer: string): boolean {
  const root = localPath(outer);
  if (root !== undefined) return pathBelow(root, inner) !== undefined;
  const [path, folder] = [inner, outer].map((uri) => splitArtifactPath(storedPath(uri) ?? ""));
  return folder !== undefined && path !== undefined && folder.length > 0 && folder.every((part, i) => path[i] === part);
}
