import { stat } from "node:fs/promises";
import { join } from "node:path";
import { readRecord, type BackboneRecord } from "../../backbones/backbone-record.ts";
import { findBackbone, listBackbones } from "../../backbones/find-backbone.ts";
import { loadBackboneFolder } from "../../backbones/load-backbone.ts";
import { toServalError } from "../../errors/serval-error.ts";
import { BACKBONES } from "../../nn/architectures/backbones.ts";

export interface BackboneRow {
  readonly name: string;
  readonly dir: string;
  /** Whether it came with Serval. */
  readonly shipped: boolean;
  /** A network of Serval, or "onnx". */
  readonly network: string;
  readonly features: number;
  readonly sizeBytes: number;
  readonly licence: string;
}

export interface ShownBackbone {
  readonly dir: string;
  readonly shipped: boolean;
  readonly record: BackboneRecord;
  readonly digest: string;
  readonly features: number;
  readonly side: number;
  readonly mean: readonly number[];
  readonly std: readonly number[];
}

/** Every backbone, from its record alone; those whose record is damaged are named in `problems`. */
export async function readBackboneRows(cwd: string): Promise<{ rows: BackboneRow[]; problems: string[] }> {
  const [rows, problems]: [BackboneRow[], string[]] = [[], []];
  for (const { name, dir, shipped } of await listBackbones(cwd)) {
    try {
      const record = await readRecord(dir);
      const sizes = await Promise.all(Object.keys(record.files).map(async (file) => (await stat(join(dir, file))).size));
      rows.push({
        name,
        dir,
        shipped,
        network: record.architecture ?? "onnx",
        features: record.onnx?.channels ?? BACKBONES[record.architecture ?? ""]?.channels ?? 0,
        sizeBytes: sizes.reduce((sum, size) => sum + size, 0),
        licence: record.licence,
      });
    } catch (error) {
      const { code, message } = toServalError(error);
      problems.push(`${code}: ${name}: ${message}`);
    }
  }
  return { rows, problems };
}

/** Reads all of a backbone, which checks its files. */
export async function showBackbone(name: string, cwd: string): Promise<ShownBackbone> {
  const { dir, shipped } = await findBackbone(name, cwd);
  const { record, digest, network } = await loadBackboneFolder(dir);
  const { channels, side, mean, std } = network;
  return { dir, shipped, record, digest, features: channels, side, mean, std };
}
