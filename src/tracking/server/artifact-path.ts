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
