import { readdir, readFile, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { ServalError, toServalError, type ErrorCode } from "../errors/serval-error.ts";
import { sha256, sha256File, writeFileAtomic } from "../files.ts";
import { loadBundle } from "../model/bundle.ts";
import { cardFile, manifestFile, parseManifest, provenanceFile, validationFile } from "../model/manifest.ts";
import { exists, replaceFolder } from "../model/replace-folder.ts";
import type { RegistryClient } from "../tracking/client/registry-client.ts";
import type { ModelVersion } from "../tracking/client/wire.ts";
import { formatModelUri, type ModelReference } from "./model-uri.ts";
import { digestOf, findVersion } from "./versions.ts";

export interface FetchOptions {
  readonly registry: RegistryClient;
  readonly reference: ModelReference;
  /** Keeps what was downloaded, by digest, and which version an address last pointed to. */
  readonly cacheDir: string;
  /**
   * Takes the version that was named last also where the registry refuses, the new one is damaged, or the disk has no room
   * for it: for a service that starts, and would not serve at all.
   */
  readonly lastGood?: boolean | undefined;
  readonly signal?: AbortSignal;
  readonly onProgress?: (done: number, total: number) => void;
}

export interface FetchedModel {
  /** Absolute path of the bundle, every file of which is checked. */
  readonly dir: string;
  readonly name: string;
  readonly version: string;
  readonly digest: string;
  /** Why this is not what the registry names now, but the version that it named last; null where it is. */
  readonly trouble: ServalError | null;
}

/** What an address pointed to when the registry last answered. */
interface KnownVersion {
  readonly server: string;
  readonly name: string;
  readonly version: string;
  readonly digest: string;
}

/**
 * Brings the bundle that a `models:/` address names to this disk. Asks the registry which version that is, downloads the
 * version once, and checks the digest of every file. While the registry does not answer, the version that it named last is
 * taken, where it is whole. Throws E_REGISTRY_MISSING, E_REGISTRY_CORRUPT, E_TRACKING_REFUSED, and
 * E_TRACKING_UNREACHABLE where nothing is cached. To look for a newer version, call it again: one whose version has not
 * changed costs two requests and a reading of its files.
 */
export async function fetchRegisteredModel(options: FetchOptions): Promise<FetchedModel> {
  const { registry, reference, cacheDir, signal } = options;
  const refPath = join(cacheDir, "refs", `${encodeURIComponent(formatModelUri(reference).slice("models:/".length))}.json`);
  try {
    const version = await findVersion(registry, reference, signal);
    const digest = digestOf(version);
    const dir = join(cacheDir, digest);
    if (!(await isWhole(dir, digest))) await download(options, version, digest, dir);
    const known: KnownVersion = { server: registry.server, name: version.name, version: version.version, digest };
    const before = await readKnown(refPath);
    if (JSON.stringify(before) !== JSON.stringify(known)) {
      await writeFileAtomic(refPath, `${JSON.stringify(known)}\n`);
      await removeUnnamed(cacheDir, before?.digest);
    }
    return { dir, name: version.name, version: version.version, digest, trouble: null };
  } catch (error) {
    const failure = toServalError(error);
    if (!fallbackCodes(options).includes(failure.code)) throw error;
    const known = await readKnown(refPath);
    if (known?.server !== registry.server || !(await isWhole(join(cacheDir, known.digest), known.digest))) throw error;
    const { name, version, digest } = known;
    return { dir: join(cacheDir, digest), name, version, digest, trouble: failure };
  }
}

function fallbackCodes({ lastGood = false }: FetchOptions): readonly ErrorCode[] {
  return lastGood ? ["E_TRACKING_UNREACHABLE", "E_TRACKING_REFUSED", "E_REGISTRY_CORRUPT", "E_DISK_FULL"] : ["E_TRACKING_UNREACHABLE"];
}

async function readKnown(path: string): Promise<KnownVersion | undefined> {
  try {
    return JSON.parse(await readFile(path, "utf8")) as KnownVersion;
  } catch {
    // Never asked before, or cut off by a crash: either way nothing is known.
    return undefined;
  }
}

const youngMs = 3_600_000;
/** What a bundle may have. Its model is one protobuf message, which has at most 2 GiB. */
const mostFiles = 1000;
const mostFileBytes = 2 * 2 ** 30;
const mostManifestBytes = 16 * 2 ** 20;

/**
 * Removes the bundles that no address names any more, so that a service which follows an alias for years does not fill its
 * disk. What the address named before stays, because a rollback names it again; so does what is younger than an hour, which
 * another command may be about to name.
 */
async function removeUnnamed(cacheDir: string, previous: string | undefined): Promise<void> {
  const refs = await readdir(join(cacheDir, "refs"));
  const named = new Set([previous]);
  for (const ref of refs) named.add((await readKnown(join(cacheDir, "refs", ref)))?.digest);
  for (const digest of await readdir(cacheDir)) {
    if (!/^[0-9a-f]{64}$/.test(digest) || named.has(digest)) continue;
    const dir = join(cacheDir, digest);
    const made = await stat(dir).catch(() => undefined);
    if (made !== undefined && Date.now() - made.mtimeMs > youngMs) await rm(dir, { recursive: true, force: true });
  }
}

/**
 * Brings what a version said about its validation pictures to the bundle in `dir`, where the registry has it. Only a comparison
 * needs it: a service that follows the registry does without.
 */
export async function fetchValidation({ registry, reference, signal }: FetchOptions, { dir, version }: FetchedModel): Promise<void> {
  const path = join(dir, validationFile);
  if (await exists(path)) return;
  const root = await registry.artifactRootOf(reference.name, version, signal);
  try {
    await registry.downloadArtifact(root, validationFile, `${path}.part`, mostFileBytes, signal);
    await rename(`${path}.part`, path);
  } catch (error) {
    // An older version has none. Where it is not there, some servers answer 404 and others 500.
    if (!(error instanceof ServalError) || error.code !== "E_TRACKING_REFUSED") throw error;
  }
}

/** Reads every file of a cached bundle. */
async function isWhole(dir: string, digest: string): Promise<boolean> {
  return await loadBundle(dir).then(
    (bundle) => bundle.digest === digest,
    () => false,
  );
}

async function download(options: FetchOptions, version: ModelVersion, digest: string, dir: string): Promise<void> {
  const { registry, signal, onProgress } = options;
  const which = `Version ${version.version} of "${version.name}"`;
  const details = { version: version.version };
  const root = await registry.artifactRootOf(version.name, version.version, signal);
  await replaceFolder(dir, async (temporary) => {
    const get = async (path: string, maxBytes: number): Promise<void> => {
      await registry.downloadArtifact(root, path, join(temporary, path), maxBytes, signal).catch((error: unknown) => {
        if (!(error instanceof ServalError) || error.details["status"] !== 404) throw error;
        throw new ServalError("E_REGISTRY_CORRUPT", `${which} lacks ${path}.`, { cause: error, details });
      });
    };
    await get(manifestFile, mostManifestBytes);
    const path = join(temporary, manifestFile);
    const text = await readFile(path);
    const got = sha256(text);
    if (got !== digest) {
      throw new ServalError(
        "E_REGISTRY_CORRUPT",
        `${which} should have a ${manifestFile} with the SHA-256 ${digest}, and has one with ${got}.`,
        { details },
      );
    }
    const files = Object.entries(parseManifest(text.toString("utf8"), path).files);
    if (files.length > mostFiles) {
      throw new ServalError("E_REGISTRY_CORRUPT", `${which} has ${files.length} files; a bundle has at most ${mostFiles}.`, { details });
    }
    for (const [i, [name, expected]] of files.entries()) {
      await get(name, mostFileBytes);
      const actual = await sha256File(join(temporary, name));
      if (actual !== expected) {
        throw new ServalError(
          "E_REGISTRY_CORRUPT",
          `${which} should have a ${name} with the SHA-256 ${expected}, and has one with ${actual}.`,
          { details },
        );
      }
      onProgress?.(i + 1, files.length);
    }
    for (const name of [provenanceFile, cardFile].filter((file) => !files.some(([sealed]) => sealed === file))) {
      await get(name, mostManifestBytes).catch((error: unknown) => {
        // Outside the digest, and not every bundle has one.
        if (!(error instanceof ServalError) || error.code !== "E_REGISTRY_CORRUPT") throw error;
      });
    }
  });
}
