import { ServalError } from "../../errors/serval-error.ts";
import type { DvcConfig, RemoteConfig } from "../dvc-files/dvc-config.ts";
import { openFolderRemote } from "./folder-remote.ts";
import type { Remote } from "./remote.ts";
import { readS3Settings, s3Keys, type S3Environment } from "./s3-settings.ts";

/** botocore's and so DVC's own. */
const usualStallSeconds = 60;

const commonKeys = ["url", "jobs", "read_timeout", "checksum_jobs", "verify", "no_traverse", "version_aware", "worktree"];
/** Of a folder that is a cache as well. */
const folderKeys = ["shared", "type", "protected", "slow_link_warning"];

/** The configuration of the remote with this name, or of the default one. Throws E_DVC_CONFIG. */
export function findRemote(config: DvcConfig, name: string | undefined): RemoteConfig {
  const wanted = name ?? config.defaultRemote;
  const known = [...config.remotes.keys()];
  if (wanted === undefined) {
    const what = known.length === 0 ? "there is no remote" : "no remote is the default one";
    throw new ServalError("E_DVC_CONFIG", `.dvc/config: ${what}.`, {
      hint:
        known.length === 0
          ? "Add one: `[core]` with `remote = NAME`, and `['remote \"NAME\"']` with `url = FOLDER` or `url = s3://BUCKET/PREFIX`."
          : `Name one with --remote (${known.join(", ")}), or set \`remote = NAME\` below \`[core]\`.`,
    });
  }
  const remote = config.remotes.get(wanted);
  if (remote === undefined) {
    throw new ServalError(
      "E_DVC_CONFIG",
      `.dvc/config: expected a remote "${wanted}", got ${known.length === 0 ? "none" : `only ${known.map((text) => `"${text}"`).join(", ")}`}.`,
    );
  }
  return remote;
}

/** Opens a remote; nothing is sent yet. Throws E_DVC_CONFIG, which names the setting that is not valid or not supported. */
export async function openRemote(config: RemoteConfig, env: S3Environment = {}): Promise<Remote> {
  const scheme = /^(\w[\w+.-]*):\/\//.exec(config.url)?.[1];
  if (scheme !== undefined && scheme !== "s3") {
    throw refuse(config, `${scheme}:// is not supported: expected a folder or s3://BUCKET/PREFIX, got "${config.url}"`);
  }
  const keys = [...commonKeys, ...(scheme === "s3" ? s3Keys : folderKeys)];
  for (const [key, value] of Object.entries(config.settings)) {
    if (!keys.includes(key)) throw refuse(config, `the setting "${key}" is unknown or not supported`);
    if ((key === "version_aware" || key === "worktree") && !/^false$/i.test(value)) {
      throw refuse(config, `${key} is not supported: objects are kept under DVC's own names`);
    }
  }
  const settings = { jobs: readNumber(config, "jobs"), stallMs: readSeconds(config, "read_timeout") ?? usualStallSeconds * 1000 };
  if (scheme !== "s3") return openFolderRemote(config, { ...settings, shared: config.settings["shared"]?.toLowerCase() === "group" });
  // The SDK is large, and a folder needs none of it.
  const { openS3Remote } = await import("./s3-remote.ts");
  return openS3Remote(config, { ...settings, ...readS3Settings(config, env, readSeconds(config, "connect_timeout")) });
}

function readNumber(config: RemoteConfig, key: string): number | undefined {
  const text = config.settings[key];
  if (text === undefined) return undefined;
  if (!/^[1-9]\d{0,6}$/.test(text)) throw refuse(config, `${key}: expected a whole number from 1, got "${text}"`);
  return Number(text);
}

/** In milliseconds. */
function readSeconds(config: RemoteConfig, key: string): number | undefined {
  const seconds = readNumber(config, key);
  return seconds === undefined ? undefined : seconds * 1000;
}

function refuse({ name }: RemoteConfig, text: string): ServalError {
  return new ServalError("E_DVC_CONFIG", `.dvc/config: the remote "${name}": ${text}.`);
}
