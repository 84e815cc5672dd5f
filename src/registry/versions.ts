import { ServalError } from "../errors/serval-error.ts";
import type { RegistryClient } from "../tracking/client/registry-client.ts";
import type { ModelVersion, RegisteredModel } from "../tracking/client/wire.ts";
import { formatModelUri, type ModelReference } from "./model-uri.ts";

export const championAlias = "champion";
export const previousAlias = "previous";
/** The digest of the bundle, on its version and on its logged model. */
export const digestTag = "serval.digest";
/** On the validation split, as the bundle says. */
export const accuracyTag = "serval.accuracy";
/** JSON: when a version became the champion, over which, and by what. */
export const promotionTag = "serval.promotion";
export const forcedTag = "serval.forced_reason";
/** JSON: when a version was left by a rollback, and why. */
export const rollbackTag = "serval.rollback";

/** The registered model; throws E_REGISTRY_MISSING. */
export async function findRegisteredModel(registry: RegistryClient, name: string, signal?: AbortSignal): Promise<RegisteredModel> {
  const model = await registry.getRegisteredModel(name, signal);
  if (model !== undefined) return model;
  const known = (await registry.listRegisteredModels(signal)).map((other) => other.name);
  throw new ServalError(
    "E_REGISTRY_MISSING",
    `The registry at ${registry.server} has no model "${name}"; it has ${known.slice(0, 10).join(", ") || "none"}.`,
  );
}

/** The version that an address names, as the registry has it now; throws E_REGISTRY_MISSING. One or two requests. */
export async function findVersion(registry: RegistryClient, reference: ModelReference, signal?: AbortSignal): Promise<ModelVersion> {
  const { name } = reference;
  let version: string | undefined;
  if ("version" in reference) ({ version } = reference);
  else {
    const { aliases } = await findRegisteredModel(registry, name, signal);
    version = aliases[reference.alias];
    if (version === undefined) {
      const known = Object.keys(aliases).sort().join(", ") || "none";
      throw new ServalError("E_REGISTRY_MISSING", `"${name}" has no alias "${reference.alias}"; it has ${known}.`, {
        hint: `\`serval models promote ${name}\` makes a version the champion.`,
      });
    }
  }
  const found = await registry.getVersion(name, version, signal);
  if (found !== undefined) return found;
  await findRegisteredModel(registry, name, signal);
  const known = (await registry.listVersions(name, signal)).map((other) => other.version);
  throw new ServalError(
    "E_REGISTRY_MISSING",
    `${formatModelUri(reference)} is not there; "${name}" has ${known.join(", ") || "no version"}.`,
  );
}

/** The digest of the bundle that a version is; throws E_REGISTRY_MISSING where something else than Serval registered it. */
export function digestOf({ name, version, tags }: ModelVersion): string {
  const digest = tags[digestTag];
  if (digest !== undefined && /^[0-9a-f]{64}$/.test(digest)) return digest;
  throw new ServalError("E_REGISTRY_MISSING", `Version ${version} of "${name}" is not a Serval bundle: it has no tag ${digestTag}.`, {
    hint: "Register a bundle with `serval models register BUNDLE`.",
  });
}
