import { readFile } from "node:fs/promises";
import { ServalError } from "../errors/serval-error.ts";
import { compareWithLock, recordInLock, type DownloadRecord } from "../http/download-lock.ts";
import { download, type DownloadOptions } from "../http/download.ts";
import { largestWeightsBytes } from "./weights-file.ts";

/** A repository of a model hub at one revision: `hf:OWNER/NAME@REVISION`. */
export interface HubSource {
  readonly text: string;
  readonly owner: string;
  readonly name: string;
  readonly revision: string;
}

export interface HubOptions extends Omit<DownloadOptions, "maxBytes"> {
  /** Address of the hub. */
  readonly endpoint: string;
  readonly lockPath: string;
}

/** What timm says of its weights in config.json. */
export interface HubConfig {
  /** A network of Serval. */
  readonly architecture: string;
  readonly mean?: readonly number[];
  readonly std?: readonly number[];
  readonly licence?: string;
}

export interface HubFiles {
  /** The weights on this machine. */
  readonly path: string;
  readonly config: HubConfig;
  /** Writes the hashes of the files into the lock. Call it once they were checked. */
  readonly pin: () => Promise<void>;
}

const largestConfigBytes = 1_000_000;
/** timm's names of the networks that Serval knows. */
const timmNames: Readonly<Record<string, string>> = { tf_efficientnet_lite0: "efficientnet-lite0" };
const hint =
  "Check the address, and that the repository has a model.safetensors that anyone may download; run the same command again to continue a download. " +
  "Without a network, `efficientnet-lite0` works: it comes with Serval.";

/** Throws E_USAGE. */
export function parseHubSource(text: string): HubSource {
  const [, owner, name, revision] = /^hf:([\w][\w.-]*)\/([\w][\w.-]*)@([\w][\w./-]*)$/.exec(text) ?? [];
  if (owner !== undefined && name !== undefined && revision !== undefined) return { text, owner, name, revision };
  throw new ServalError("E_USAGE", `Expected hf:OWNER/NAME@REVISION, got ${JSON.stringify(text)}.`, {
    hint: "The revision is a commit or a tag of the repository: what is downloaded must not change by itself.",
  });
}

/**
 * Downloads the weights of a repository and what it says of them, or finds them downloaded, and compares both with downloads.lock.json.
 * Throws E_DOWNLOAD, E_DOWNLOAD_MISMATCH where a file changed under the same revision, and E_BACKBONE_UNFIT.
 */
export async function fetchFromHub(source: HubSource, options: HubOptions): Promise<HubFiles> {
  const config = await fetchFile(source, "config.json", largestConfigBytes, options);
  const known = parseConfig(await readFile(config.path, "utf8"), source);
  const weights = await fetchFile(source, "model.safetensors", largestWeightsBytes, options);
  return {
    path: weights.path,
    config: known,
    async pin() {
      for (const { key, record } of [config, weights]) await recordInLock(options.lockPath, key, record);
    },
  };
}

async function fetchFile(
  { text, owner, name, revision }: HubSource,
  file: string,
  maxBytes: number,
  { endpoint, lockPath, ...options }: HubOptions,
): Promise<{ key: string; path: string; record: DownloadRecord }> {
  const url = `${endpoint}/${owner}/${name}/resolve/${encodeURIComponent(revision)}/${file}`;
  const key = `${text}/${file}`;
  try {
    const path = await download(url, { ...options, maxBytes });
    return { key, path, record: await compareWithLock(lockPath, key, url, path) };
  } catch (error) {
    if (!(error instanceof ServalError) || error.code !== "E_DOWNLOAD") throw error;
    throw new ServalError(error.code, error.message, { cause: error, hint });
  }
}

function parseConfig(text: string, { text: source }: HubSource): HubConfig {
  let config: Record<string, unknown>;
  try {
    config = asRecord(JSON.parse(text));
  } catch (error) {
    throw new ServalError("E_BACKBONE_UNFIT", `${source}: config.json is not JSON: ${(error as Error).message}.`, { cause: error });
  }
  const timm = config["architecture"];
  const architecture = typeof timm === "string" && Object.hasOwn(timmNames, timm) ? timmNames[timm] : undefined;
  if (architecture === undefined) {
    throw new ServalError(
      "E_BACKBONE_UNFIT",
      `${source}: config.json: expected the architecture ${Object.keys(timmNames).join(", ")}, got ${JSON.stringify(timm) ?? "none"}.`,
      { hint: "Any other network can be a backbone as an ONNX file (docs/backbones.md)." },
    );
  }
  const pretrained = asRecord(config["pretrained_cfg"]);
  const [mean, std, licence] = [pretrained["mean"], pretrained["std"], pretrained["license"]];
  const colours = (value: unknown): value is number[] =>
    Array.isArray(value) && value.length === 3 && value.every((number) => Number.isFinite(number));
  if (!colours(mean) || !colours(std) || !std.every((value) => value > 0)) {
    throw new ServalError(
      "E_BACKBONE_UNFIT",
      `${source}: config.json: expected pretrained_cfg.mean and pretrained_cfg.std, three numbers each, got ${JSON.stringify(mean) ?? "none"} and ${JSON.stringify(std) ?? "none"}.`,
    );
  }
  return { architecture, mean, std, ...(typeof licence === "string" && licence !== "" && { licence }) };
}

function asRecord(value: unknown): Record<string, unknown> {
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
}
