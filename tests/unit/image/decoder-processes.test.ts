import { spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync, readFileSync } from "node:fs";
import { getPriority } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, onTestFinished, test } from "vitest";
import { inspectHere } from "../../../src/image/decode.ts";
import { DecoderProcesses, type DecoderOptions } from "../../../src/image/decoder-processes.ts";
import { inspectImage } from "../../../src/image/inspect-image.ts";
import { preprocessImage } from "../../../src/image/preprocess-image.ts";
import { preprocessHere, type Preprocess } from "../../../src/image/preprocess.ts";
import { blackPng, blobs, jpeg, jpegOfScans, jpegSegment, pngChunk, repeated } from "../../helpers/pictures.ts";

const limits = { maxBytes: 16 << 20, maxPixels: 64_000_000 };
const preprocess: Preprocess = { orient: true, width: 32, height: 24, fit: "crop", kernel: "lanczos3", crop: { width: 20, height: 20 } };

/** It takes minutes and is within all limits. */
const endless = jpegOfScans(8000, 8000, 2600);
const small = await jpeg("decoder");

interface Recorded {
  readonly decoder: DecoderProcesses;
  readonly ends: string[];
  readonly starts: () => number;
  readonly decode: (
    image: Uint8Array,
    given?: { maxDecodeMs?: number; maxPixels?: number; work?: number; signal?: AbortSignal },
  ) => Promise<Uint8Array>;
}

const opened: DecoderProcesses[] = [];
afterAll(() => opened.forEach((decoder) => decoder.close()));

function open(options: Partial<DecoderOptions> = {}): Recorded {
  const ends: string[] = [];
  let starts = 0;
  const decoder = new DecoderProcesses({
    processes: 1,
    ...options,
    onStart: () => void starts++,
    onEnd: (reason) => void ends.push(reason),
  });
  opened.push(decoder);
  return {
    decoder,
    ends,
    starts: () => starts,
    decode: async (image, { work = 1, signal, ...given } = {}) => {
      const task = { kind: "preprocess", image, preprocess, limits: { ...limits, ...given }, forMap: false } as const;
      return (await decoder.run(task, work, signal)).pixels;
    },
  };
}

/** Decoder processes that this process, or that of `pid`, has started. */
function decodersOf(pid: number): number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((other) => {
      try {
        const status = readFileSync(`/proc/${other}/status`, "utf8");
        return status.includes(`PPid:\t${pid}\n`) && readFileSync(`/proc/${other}/cmdline`, "utf8").includes("decode-worker");
      } catch {
        return false; // ended meanwhile
      }
    });
}

const codeOf = async (answer: Promise<unknown>): Promise<string> => await answer.then(String, (error: { code: string }) => error.code);

describe("a decoder process gives the pixels that this process would give", () => {
  const same = open();
  const picture = (): ReturnType<typeof blobs> => blobs("same", 180, 130);
  test.each<[string, () => Promise<Buffer>]>([
    ["jpeg", () => picture().jpeg().toBuffer()],
    ["progressive jpeg", () => picture().jpeg({ progressive: true }).toBuffer()],
    ["jpeg on its side", () => picture().withMetadata({ orientation: 6 }).jpeg().toBuffer()],
    ["cmyk jpeg", () => picture().toColourspace("cmyk").jpeg().toBuffer()],
    ["jpeg with a profile", () => picture().withIccProfile("p3").jpeg().toBuffer()],
    ["gray jpeg", () => picture().grayscale().jpeg().toBuffer()],
    ["interlaced png of 16 bits", () => picture().toColourspace("rgb16").png({ progressive: true }).toBuffer()],
    ["png with alpha", () => picture().ensureAlpha(0.3).png().toBuffer()],
    ["png with a palette", () => picture().png({ palette: true }).toBuffer()],
    ["webp", () => picture().webp().toBuffer()],
    ["lossless webp with alpha", () => picture().ensureAlpha(0.7).webp({ lossless: true }).toBuffer()],
    ["gif", () => picture().gif().toBuffer()],
  ])("%s", async (_name, make) => {
    const image = await make();
    const { decoder, decode } = same;
    expect(Buffer.from(await decode(image))).toEqual(Buffer.from(await preprocessHere(image, preprocess, limits)));
    expect(await decoder.run({ kind: "inspect", image, limits }, 1)).toEqual(await inspectHere(image, limits));
  });

  test("also of a costly picture, whichever way it takes", async () => {
    const image = await blackPng({
      width: 3000,
      height: 2000,
      interlaced: true,
      chunks: pngChunk("gAMA", Buffer.from([0, 0, 0xb1, 0x8f])),
    });
    expect(Buffer.from(await preprocessImage(image, preprocess, limits))).toEqual(
      Buffer.from(await preprocessHere(image, preprocess, limits)),
    );
    expect(await inspectImage(image, limits)).toEqual(await inspectHere(image, limits));
  });

  test("and the errors", async () => {
    const { decode } = open();
    const damaged = small.subarray(0, small.length / 2);
    const [there, here] = await Promise.all(
      [decode(damaged), preprocessHere(damaged, preprocess, limits)].map(async (answer) => await answer.catch((error: unknown) => error)),
    );
    expect(there).toMatchObject({ code: "E_IMAGE_CORRUPT", message: (here as Error).message });
  });
});

describe("a picture that exceeds its limits", () => {
  test("is refused when its time is used up, and the next one is decoded by a new process", async () => {
    const { decode, ends, starts } = open();
    const refused = decode(endless, { maxDecodeMs: 300 });
    // On a busy machine the clock may be first.
    const message = expect.stringMatching(
      /^(Decoding the image took more than 300 ms of processor time|The image was not decoded within 1800 ms)\.$/,
    );
    await expect(refused).rejects.toMatchObject({ code: "E_IMAGE_COST", message });
    await decode(small);
    await decode(small);
    expect([ends, starts()]).toEqual([["time"], 2]);
  });

  test("is refused when its memory is used up", async () => {
    const image = await jpeg("memory");
    // The library keeps each of these, in hundreds of bytes for one of four.
    const segments = repeated(jpegSegment(0xed, Buffer.alloc(0)), 3_500_000);
    const { decode, ends } = open();
    const refused = decode(Buffer.concat([image.subarray(0, 2), segments, image.subarray(2)]), {
      maxPixels: 1_000_000,
      maxDecodeMs: 60_000,
    });
    const message = expect.stringMatching(/^Decoding the image took \d+ MB of memory; at most 200 MB are allowed\.$/);
    await expect(refused).rejects.toMatchObject({ code: "E_IMAGE_COST", message });
    expect(ends).toEqual(["memory"]);
  });

  test("is refused where its process has come to a halt", async () => {
    const { decode, ends } = open();
    await decode(small);
    const [pid] = decodersOf(process.pid).slice(-1);
    process.kill(pid!, "SIGSTOP");
    await expect(decode(small, { maxDecodeMs: 50 })).rejects.toMatchObject({
      code: "E_IMAGE_COST",
      message: "The image was not decoded within 300 ms.",
    });
    expect(ends).toEqual(["time"]);
    await decode(small);
  });

  test("is refused where its process crashes", async () => {
    const { decode, ends } = open();
    await decode(small);
    const refused = decode(endless);
    process.kill(decodersOf(process.pid).at(-1)!, "SIGSEGV");
    await expect(refused).rejects.toMatchObject({
      code: "E_IMAGE_COST",
      message: "The process that decoded the image ended with SIGSEGV.",
    });
    await decode(small);
    expect(ends).toEqual(["crash"]);
  });
});

describe("what waits", () => {
  test("is bounded", async () => {
    const { decoder, decode } = open({ maxWaiting: 2 });
    const asked = Array.from({ length: 4 }, async () => await codeOf(decode(small)));
    expect(decoder.depth).toBe(3);
    const codes = await Promise.all(asked);
    expect(codes.at(-1)).toBe("E_QUEUE_FULL");
    expect(codes.slice(0, 3)).not.toContain("E_QUEUE_FULL");
    expect(decoder.depth).toBe(0);
  });

  test("is decoded in the order of its work", async () => {
    const { decode } = open();
    const order: number[] = [];
    await Promise.all([9, Infinity, 5, 3, 5].map(async (work) => (await decode(small, { work }), order.push(work))));
    // The first picture had no other before it.
    expect(order).toEqual([9, 3, 5, 5, Infinity]);
  });

  test("is forgotten when its client has gone, and its decoding is ended", async () => {
    const { decoder, decode, ends } = open();
    const [runs, waits] = [new AbortController(), new AbortController()];
    const answers = [codeOf(decode(endless, { signal: runs.signal })), codeOf(decode(endless, { signal: waits.signal }))];
    waits.abort({ code: "waited" });
    expect(decoder.depth).toBe(1);
    runs.abort({ code: "ran" });
    expect(await Promise.all(answers)).toEqual(["ran", "waited"]);
    await expect.poll(() => [decoder.depth, ends]).toEqual([0, ["abandoned"]]);
  });
});

describe("the processes", () => {
  test("are started when they are needed, and ended when they have had no work for a while", async () => {
    const { decoder, decode, ends, starts } = open({ processes: 2, idleMs: 100 });
    expect(decoder.processes).toBe(0);
    await Promise.all([decode(small), decode(small), decode(small)]);
    expect(starts()).toBe(2);
    await expect.poll(() => decoder.processes).toBe(0);
    await decode(small);
    expect(ends).toEqual([]);
  });

  test.runIf(process.platform === "linux")("let others go first, and know nothing of the environment", async () => {
    process.env["SERVAL_API_KEY"] = "secret";
    onTestFinished(() => void delete process.env["SERVAL_API_KEY"]);
    const { decode } = open({ niceness: 5 });
    await decode(small);
    const pid = decodersOf(process.pid).at(-1)!;
    expect(getPriority(pid)).toBe(Math.min(19, getPriority() + 5));
    expect(readFileSync(`/proc/${pid}/oom_score_adj`, "utf8").trim()).toBe("1000");
    const names = readFileSync(`/proc/${pid}/environ`, "utf8")
      .split("\0")
      .map((line) => line.split("=")[0]!)
      .filter(Boolean);
    const known = [
      "MALLOC_ARENA_MAX",
      "LD_LIBRARY_PATH",
      "NODE_COMPILE_CACHE",
      "NODE_V8_COVERAGE",
      "NODE_CHANNEL_FD",
      "NODE_CHANNEL_SERIALIZATION_MODE",
    ];
    expect(names.filter((name) => !known.includes(name))).toEqual([]);
  });

  test.runIf(process.platform === "linux")("end with the process that started them, in the middle of a picture", async () => {
    const source = `
      import { jpegOfScans } from "${join(import.meta.dirname, "../../helpers/pictures.ts")}";
      import { inspectImage } from "${join(import.meta.dirname, "../../../src/image/inspect-image.ts")}";
      void inspectImage(jpegOfScans(8000, 8000, 2600), { maxBytes: 1e8, maxPixels: 1e8, maxDecodeMs: 60_000 });
    `;
    const parent = spawn(process.execPath, ["--input-type=module-typescript", "--eval", source], { stdio: "inherit" });
    onTestFinished(() => void parent.kill("SIGKILL"));
    await expect.poll(() => decodersOf(parent.pid!)).toHaveLength(1);
    const [decoder] = decodersOf(parent.pid!);
    const usedTicks = (): number => Number(readFileSync(`/proc/${decoder}/stat`, "utf8").split(" ")[13]);
    // It has begun, which is more than its start of a tenth of a second.
    await expect.poll(usedTicks).toBeGreaterThan(50);
    parent.kill("SIGKILL");
    await once(parent, "exit");
    await expect.poll(() => readdirSync("/proc").includes(String(decoder))).toBe(false);
  });

  test("keep no program from ending", async () => {
    const source = `
      import { blackPng } from "${join(import.meta.dirname, "../../helpers/pictures.ts")}";
      import { inspectImage } from "${join(import.meta.dirname, "../../../src/image/inspect-image.ts")}";
      await inspectImage(await blackPng({ width: 3000, height: 2000, interlaced: true }), { maxBytes: 1e8, maxPixels: 1e8 });
    `;
    const program = spawn(process.execPath, ["--input-type=module-typescript", "--eval", source], { stdio: "inherit" });
    expect((await once(program, "exit"))[0]).toBe(0);
  });

  test("are all ended when the decoder is closed", async () => {
    const { decoder, decode } = open();
    const answers = [codeOf(decode(endless)), codeOf(decode(endless))];
    decoder.close();
    expect(await Promise.all(answers)).toEqual(["E_DECODER", "E_DECODER"]);
    expect(await codeOf(decode(small))).toBe("E_DECODER");
    await expect.poll(() => decoder.processes).toBe(0);
  });
});
