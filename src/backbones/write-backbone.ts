import { readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { ServalError } from "../errors/serval-error.ts";
import { sha256, writeFileAtomic } from "../files.ts";
import { replaceFolder } from "../model/replace-folder.ts";
import { backbonesDir } from "../paths.ts";
import { backboneFile, backboneNamePattern, encodeRecord, type BackboneRecord } from "./backbone-record.ts";
import { findBackbone, listBackbones } from "./find-backbone.ts";

export interface NewBackbone {
  readonly record: Omit<BackboneRecord, "files" | "formatVersion">;
  /** Name and content of the file with the weights. */
  readonly file: string;
  readonly bytes: Uint8Array;
}

export interface WrittenBackbone {
  readonly dir: string;
  readonly record: BackboneRecord;
  /** False where the very same backbone was there. */
  readonly changed: boolean;
}

/** A folder name out of any text. */
export function backboneNameOf(text: string): string {
  return text
    .toLowerCase()
    .replaceAll(/[^a-z0-9._-]+/g, "-")
    .replace(/^[^a-z0-9]+/, "")
    .slice(0, 63);
}

/** Throws E_USAGE for a name that cannot be a folder. */
export function checkBackboneName(name: string): string {
  if (new RegExp(backboneNamePattern).test(name)) return name;
  throw new ServalError("E_USAGE", `--name: expected small letters, digits, dots, dashes and underscores, got ${JSON.stringify(name)}.`);
}

/** Writes a backbone to the working folder. Throws E_BACKBONE_EXISTS where another one has its name. */
export async function writeBackbone(cwd: string, { record, file, bytes }: NewBackbone): Promise<WrittenBackbone> {
  const whole: BackboneRecord = { formatVersion: 1, ...record, files: { [file]: sha256(bytes) } };
  const dir = join(cwd, backbonesDir, record.name);
  const text = encodeRecord(whole);
  const other = (await listBackbones(cwd)).find(({ name }) => name === record.name);
  if (other) {
    if ((await readFile(join(other.dir, backboneFile), "utf8")) === text) return { dir: other.dir, record: whole, changed: false };
    throw new ServalError("E_BACKBONE_EXISTS", `There is another backbone ${record.name} in ${other.dir}.`);
  }
  await replaceFolder(dir, async (temporary) => {
    await writeFileAtomic(join(temporary, file), bytes);
    await writeFileAtomic(join(temporary, "README.md"), card(whole));
    await writeFileAtomic(join(temporary, backboneFile), text);
  });
  return { dir, record: whole, changed: true };
}

function card({ name, architecture, licence, origin }: BackboneRecord): string {
  const network = architecture === undefined ? "An ONNX file" : `The network ${architecture}`;
  return `# ${name}\n\n${network}, added with \`serval backbones add\`.\n\n- Licence: ${licence}\n- Origin: ${origin}\n`;
}

/** Removes a backbone of the working folder. Throws E_BACKBONE_MISSING, and E_USAGE for one that came with Serval. */
export async function removeBackbone(cwd: string, name: string): Promise<string> {
  const { dir, shipped } = await findBackbone(checkBackboneName(name), cwd);
  if (shipped || dir !== join(cwd, backbonesDir, name)) {
    throw new ServalError("E_USAGE", `${name} came with Serval and is not removed; only backbones of the working folder are.`, {
      hint: "`serval backbones list` shows where each backbone is.",
    });
  }
  await rm(dir, { recursive: true });
  return dir;
}
