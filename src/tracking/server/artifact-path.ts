import { invalid } from "./refusal.ts";

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
    if (i === 10) throw unsafe(path);
    decoded = further;
  }
  return path.split("/").filter((part) => part !== "" && part !== ".");
}

function checkPlain(path: string, decoded: string): void {
  const absolute = decoded.startsWith("/") || /^[a-zA-Z]:/.test(decoded) || /^file:/i.test(decoded);
  // Backslashes separate on Windows; a # would begin a fragment in the address of the artifact.
  if (absolute || /[\\#]|\p{Cc}/u.test(decoded) || decoded.split("/").includes("..")) throw unsafe(path);
}

function unsafe(path: string): Error {
  return invalid(
    `The artifact path ${JSON.stringify(path.slice(0, 200))} is not safe: expected names with / between them, without .., \\, # and control characters.`,
  );
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
