import { ServalError } from "../errors/serval-error.ts";

/** Element types of the format, by size in bytes. */
const SIZES = { F64: 8, I64: 8, U64: 8, F32: 4, I32: 4, U32: 4, F16: 2, BF16: 2, I16: 2, U16: 2, I8: 1, U8: 1, BOOL: 1 } as const;

export type SafetensorDtype = keyof typeof SIZES;

export interface Safetensor {
  readonly dtype: SafetensorDtype;
  /** Row-major; [] is a scalar. */
  readonly shape: readonly number[];
  /** Little-endian. */
  readonly data: Uint8Array;
}

export interface SafetensorsFile {
  readonly tensors: Readonly<Record<string, Safetensor>>;
  readonly metadata: Readonly<Record<string, string>>;
}

const headerLengthBytes = 8;
/** The data starts at a multiple of this, so that a reader can map it as numbers. */
const alignmentBytes = 8;
/** The header of a network of 10,000 tensors has some 1.5 MB; the reference implementation refuses those above 100 MB. */
const maxHeaderBytes = 16_000_000;
const metadataKey = "__metadata__";

interface HeaderEntry {
  readonly dtype: SafetensorDtype;
  readonly shape: readonly number[];
  readonly data_offsets: readonly [begin: number, end: number];
}

/**
 * Writes the safetensors format: eight bytes of header length, a JSON header padded with spaces, the data without gaps.
 * Larger element types come first and names are sorted within them, as in the reference implementation: so every tensor
 * is aligned, and equal tensors give equal bytes. Source: github.com/huggingface/safetensors, README "Format".
 */
export function encodeSafetensors(
  tensors: Readonly<Record<string, Safetensor>>,
  metadata: Readonly<Record<string, string>> = {},
): Uint8Array {
  const entries = Object.entries(tensors).sort(
    ([a, x], [b, y]) => SIZES[y.dtype] - SIZES[x.dtype] || (a < b ? -1 : 1), // names of one object differ
  );
  // A null prototype takes any name, also `__proto__`.
  const header = Object.create(null) as Record<string, unknown>;
  if (Object.keys(metadata).length > 0) {
    header[metadataKey] = Object.fromEntries(Object.entries(metadata).sort(([a], [b]) => (a < b ? -1 : 1)));
  }
  let offset = 0;
  for (const [name, { dtype, shape, data }] of entries) {
    const expected = elementCount(shape) * SIZES[dtype];
    if (name === metadataKey || data.length !== expected) {
      throw new ServalError(
        "E_SAFETENSORS",
        `Tensor "${name}" of ${dtype} [${shape.join(", ")}]: expected ${expected} bytes, got ${data.length}.`,
      );
    }
    header[name] = { dtype, shape, data_offsets: [offset, offset + data.length] } satisfies HeaderEntry;
    offset += data.length;
  }
  const json = new TextEncoder().encode(JSON.stringify(header));
  const headerLength = Math.ceil(json.length / alignmentBytes) * alignmentBytes;
  const file = new Uint8Array(headerLengthBytes + headerLength + offset);
  new DataView(file.buffer).setBigUint64(0, BigInt(headerLength), true);
  file.set(json, headerLengthBytes);
  file.fill(0x20, headerLengthBytes + json.length, headerLengthBytes + headerLength);
  let at = headerLengthBytes + headerLength;
  for (const [, { data }] of entries) {
    file.set(data, at);
    at += data.length;
  }
  return file;
}

/**
 * Reads a safetensors file; the tensors are views of `bytes`. Throws E_SAFETENSORS where the header is not valid or its
 * offsets do not cover the data exactly once (the rule that keeps a file from hiding or sharing bytes).
 */
export function parseSafetensors(bytes: Uint8Array): SafetensorsFile {
  if (bytes.length < headerLengthBytes) fail(`Expected at least ${headerLengthBytes} bytes, got ${bytes.length}.`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const headerLength = Number(view.getBigUint64(0, true));
  const dataStart = headerLengthBytes + headerLength;
  if (headerLength > maxHeaderBytes || dataStart > bytes.length) {
    fail(`The header claims ${headerLength} bytes, the file has ${bytes.length}.`);
  }
  let header: unknown;
  try {
    header = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes.subarray(headerLengthBytes, dataStart)));
  } catch (error) {
    fail(`The header is not JSON: ${(error as Error).message}`, error);
  }
  if (!isRecord(header)) return fail("The header is not a JSON object.");
  const { [metadataKey]: metadata = {}, ...rest } = header;
  if (!isRecord(metadata) || Object.values(metadata).some((value) => typeof value !== "string"))
    fail(`${metadataKey} holds more than text.`);

  const tensors = Object.create(null) as Record<string, Safetensor>;
  const dataLength = bytes.length - dataStart;
  let covered = 0;
  for (const [name, entry] of Object.entries(rest).sort(([, a], [, b]) => beginOf(a) - beginOf(b))) {
    if (!isHeaderEntry(entry)) {
      // Not shown: it may be of any size and depth.
      return fail(`Tensor ${JSON.stringify(name)}: the header entry is not valid; expected a known dtype, a shape and data_offsets.`);
    }
    const {
      dtype,
      shape,
      data_offsets: [begin, end],
    } = entry;
    if (end - begin !== elementCount(shape) * SIZES[dtype]) {
      fail(`Tensor "${name}": ${dtype} [${shape.join(", ")}] does not fill bytes ${begin} to ${end}.`);
    }
    if (end > dataLength) fail(`Tensor "${name}": expected bytes ${begin} to ${end}, got only ${dataLength} bytes of data.`);
    if (begin !== covered) fail(`Tensor "${name}": bytes ${begin} to ${end} of ${dataLength} leave a gap or overlap.`);
    covered = end;
    tensors[name] = { dtype, shape, data: bytes.subarray(dataStart + begin, dataStart + end) };
  }
  if (covered !== dataLength) fail(`The tensors cover ${covered} bytes of data, the file has ${dataLength}.`);
  return { tensors, metadata: metadata as Record<string, string> };
}

/** A tensor of float32 numbers, with their bytes as they lie in memory (every platform that Node runs on is little-endian). */
export function float32Safetensor(shape: readonly number[], values: Float32Array): Safetensor {
  return { dtype: "F32", shape, data: new Uint8Array(values.buffer, values.byteOffset, values.byteLength) };
}

/** The same numbers with half as many bits. */
export function float16Safetensor(shape: readonly number[], values: Float32Array): Safetensor {
  return { dtype: "F16", shape, data: new Uint8Array(Float16Array.from(values).buffer) };
}

/** The numbers of a tensor of float32 or float16, in newly allocated memory. Throws E_SAFETENSORS for another type. */
export function safetensorNumbers(name: string, { dtype, data }: Safetensor): Float32Array {
  const { buffer } = Uint8Array.from(data);
  if (dtype === "F32") return new Float32Array(buffer);
  if (dtype === "F16") return Float32Array.from(new Float16Array(buffer));
  return fail(`Tensor "${name}": got ${dtype}; expected F32 or F16.`);
}

function fail(message: string, cause?: unknown): never {
  throw new ServalError("E_SAFETENSORS", message, { cause });
}

function elementCount(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function isHeaderEntry(value: unknown): value is HeaderEntry {
  if (!isRecord(value)) return false;
  const { dtype, shape, data_offsets: offsets } = value;
  return (
    typeof dtype === "string" &&
    Object.hasOwn(SIZES, dtype) &&
    Array.isArray(shape) &&
    shape.every(isCount) &&
    Array.isArray(offsets) &&
    offsets.length === 2 &&
    offsets.every(isCount)
  );
}

function beginOf(entry: unknown): number {
  return isHeaderEntry(entry) ? entry.data_offsets[0] : -1;
}
