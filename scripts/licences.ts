/**
 * Lists the licences of every package that package-lock.json installs, those of the product first, and ends with 1 where one is
 * not known to allow commercial use.
 *
 *     npm run licences
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";

/** SPDX names. MPL and LGPL bind changes to those packages themselves; Serval ships them unchanged, as separate files. */
const permitted = new Set(
  "0BSD Apache-2.0 BlueOak-1.0.0 BSD-2-Clause BSD-3-Clause CC0-1.0 ISC LGPL-3.0-or-later MIT MPL-2.0 Python-2.0 Unlicense".split(" "),
);

/** `(MIT OR GPL-2.0)` is permitted by one of its parts, `MIT AND LGPL-3.0-or-later` by all. */
function isPermitted(licence: string): boolean {
  const plain = licence.replaceAll(/[()]/g, "");
  return plain.split(" OR ").some((choice) => choice.split(" AND ").every((name) => permitted.has(name.trim())));
}

const lock = JSON.parse(readFileSync(join(import.meta.dirname, "../package-lock.json"), "utf8")) as {
  packages: Record<string, { license?: string; version?: string; dev?: boolean }>;
};
const groups = new Map<string, Set<string>>();
const refused: string[] = [];
for (const [path, { license = "unknown", version = "", dev = false }] of Object.entries(lock.packages)) {
  if (path === "") continue;
  const name = `${path.slice(path.lastIndexOf("node_modules/") + "node_modules/".length)}@${version}`;
  const key = `${dev ? "development" : "product"}\t${license}`;
  groups.set(key, (groups.get(key) ?? new Set()).add(name));
  if (!isPermitted(license)) refused.push(`${name}: ${license}`);
}
for (const [key, names] of [...groups].sort(([a], [b]) => b.localeCompare(a))) {
  const [use, licence] = key.split("\t");
  console.log(`${use}, ${licence} (${names.size}): ${[...names].sort().join(", ")}\n`);
}
if (refused.length > 0) {
  console.error(`Not known to allow commercial use:\n  ${refused.join("\n  ")}`);
  process.exitCode = 1;
}
