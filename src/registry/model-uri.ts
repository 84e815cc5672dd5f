import { ServalError } from "../errors/serval-error.ts";

/** What a `models:/` address names: a version by its number, or the one that an alias points to. */
export type ModelReference = { readonly name: string; readonly alias: string } | { readonly name: string; readonly version: string };

/** `models:/NAME@ALIAS` or `models:/NAME/VERSION`; throws E_USAGE. */
export function parseModelUri(uri: string): ModelReference {
  const [, name = "", alias, version] = /^models:\/{1,3}([^/@]+)(?:@([A-Za-z0-9_.-]+)|\/([1-9]\d*))$/.exec(uri) ?? [];
  if (alias !== undefined) return { name, alias };
  if (version !== undefined) return { name, version };
  throw new ServalError("E_USAGE", `Expected models:/NAME@ALIAS or models:/NAME/VERSION, got ${JSON.stringify(uri)}.`, {
    hint: "`serval models list` shows the names, versions and aliases that the registry knows.",
  });
}

export function formatModelUri(reference: ModelReference): string {
  return `models:/${reference.name}${"alias" in reference ? `@${reference.alias}` : `/${reference.version}`}`;
}
