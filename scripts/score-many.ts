/**
 * How much memory `serval score` takes for any number of pictures: small ones, as entries of a zip or lines of a list, scored by a
 * separate process as a user runs it.
 *
 *     npm run long:score -- [--pictures 1000000] [--source zip|list] [--format parquet|csv|jsonl] [--model BUNDLE]
 *
 * Without --model a network of a few weights answers: then the time is that of everything but the model. Prints rows per second and the most
 * memory that the process held (VmHWM, read ten times a second). Ends with 1 where that is 400 MB, or where a row is missing.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createWriteStream, readFileSync } from "node:fs";
import { mkdtemp, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { Readable } from "node:stream";
import { text } from "node:stream/consumers";
import { pipeline } from "node:stream/promises";
import { parseArgs } from "node:util";
import { crc32 } from "node:zlib";
import { colourPicture, writeTinyBundle } from "../tests/helpers/tiny-bundle.ts";

const mostBytes = 400e6;
const main = join(import.meta.dirname, "../src/cli/main.ts");
const { values } = parseArgs({
  options: {
    pictures: { type: "string", default: "1000000" },
    source: { type: "string", default: "zip" },
    format: { type: "string", default: "parquet" },
    model: { type: "string" },
  },
});
const pictures = Number(values.pictures);
const folder = await mkdtemp(join(tmpdir(), "serval-score-many-"));

/** Names as long as those of real sets. */
function nameOf(i: number): string {
  return `photographs/${String(i % 1000).padStart(4, "0")}/${String(i).padStart(12, "0")}.png`;
}

/** A zip (APPNOTE 4.3, with the records of 4.3.14 that large ones need) of one picture, which its directory lists under many names. */
async function writeZip(path: string, picture: Buffer): Promise<void> {
  const common = (name: Buffer): Buffer => {
    const bytes = Buffer.alloc(26);
    bytes.writeUInt16LE(20, 0);
    bytes.writeUInt32LE(crc32(picture), 10);
    bytes.writeUInt32LE(picture.length, 14);
    bytes.writeUInt32LE(picture.length, 18);
    bytes.writeUInt16LE(name.length, 22);
    return bytes;
  };
  const first = Buffer.from(nameOf(0));
  const local = Buffer.concat([Buffer.from("PK\u0003\u0004"), common(first), first, picture]);
  const entryBytes = 46 + first.length;
  function* parts(): Generator<Buffer> {
    yield local;
    for (let i = 0; i < pictures; i++) {
      const name = Buffer.from(nameOf(i));
      yield Buffer.concat([Buffer.from("PK\u0001\u0002"), Buffer.from([20, 3]), common(name), Buffer.alloc(14), name]);
    }
    const end = local.length + pictures * entryBytes;
    const wide = Buffer.alloc(56);
    wide.write("PK\u0006\u0006", "latin1");
    wide.writeBigUInt64LE(44n, 4);
    for (const at of [24, 32]) wide.writeBigUInt64LE(BigInt(pictures), at);
    wide.writeBigUInt64LE(BigInt(pictures * entryBytes), 40);
    wide.writeBigUInt64LE(BigInt(local.length), 48);
    const locator = Buffer.alloc(20);
    locator.write("PK\u0006\u0007", "latin1");
    locator.writeBigUInt64LE(BigInt(end), 8);
    locator.writeUInt32LE(1, 16);
    yield Buffer.concat([wide, locator, Buffer.from("PK\u0005\u0006"), Buffer.alloc(4), Buffer.alloc(12, 0xff), Buffer.alloc(2)]);
  }
  await pipeline(Readable.from(parts()), createWriteStream(path));
}

async function writeList(path: string, picture: Buffer): Promise<void> {
  await writeFile(join(folder, "picture.png"), picture);
  function* lines(): Generator<string> {
    for (let i = 0; i < pictures; i++) yield "./picture.png\n";
  }
  await pipeline(Readable.from(lines()), createWriteStream(path));
}

function peakOf(pid: number): number {
  try {
    return 1024 * Number(/^VmHWM:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? 0);
  } catch {
    return 0; // it has ended
  }
}

try {
  const picture = await colourPicture("red", 1, "png");
  const source = values.source === "zip" ? "set.zip" : "list.txt";
  await (values.source === "zip" ? writeZip : writeList)(join(folder, source), picture);
  const model = values.model === undefined ? join(folder, "model") : resolve(values.model);
  if (values.model === undefined) await writeTinyBundle(model);
  const startedAt = performance.now();
  const out = `scores.${values.format}`;
  const child = spawn(process.execPath, [main, "score", source, "--out", out, "--model", model, "--json"], {
    cwd: folder,
    env: { ...process.env, MALLOC_ARENA_MAX: "2" },
    stdio: ["ignore", "pipe", "inherit"],
  });
  let peak = 0;
  const timer = setInterval(() => (peak = Math.max(peak, peakOf(child.pid ?? 0))), 100);
  const [json, [code]] = await Promise.all([text(child.stdout), once(child, "close") as Promise<[number | null]>]);
  clearInterval(timer);
  if (code !== 0) throw new Error(`serval score ended with ${code}`);
  const { rows, answered } = JSON.parse(json) as { rows: number; answered: number };
  const seconds = (performance.now() - startedAt) / 1000;
  const { size } = await stat(join(folder, out));
  console.log(
    `${rows} rows of a ${values.source} as ${values.format} in ${seconds.toFixed(0)} s, ${(rows / seconds).toFixed(0)}/s, ${(size / 1e6).toFixed(1)} MB; ` +
      `most memory ${(peak / 1e6).toFixed(0)} MB (limit ${mostBytes / 1e6})`,
  );
  process.exitCode = rows === pictures && answered === pictures && peak < mostBytes ? 0 : 1;
} finally {
  await rm(folder, { recursive: true });
}
