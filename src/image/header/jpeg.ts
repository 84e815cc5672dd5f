import { asBuffer, everyday, isPlainProfile, type ImageHeader } from "./image-header.ts";

/** Files with several scans that are larger than this are not searched: the picture is costly in any case. */
const searchedBytes = 2 << 20;
const startOfScan = Buffer.from([0xff, 0xda]);
const profileName = "ICC_PROFILE\0";

interface Frame {
  readonly width: number;
  readonly height: number;
  readonly components: number;
  readonly bytesPerSample: number;
  /** Sequential: the first scan may hold the whole picture. Other: a kind that only special software writes. */
  readonly kind: "sequential" | "progressive" | "other";
}

/**
 * Walks over the segments up to the first scan (ITU-T T.81, annex B). Undefined where there is no frame header before it.
 *
 * A decoder visits every block of the picture once for each scan. A progressive file can have thousands of scans of a few
 * bytes each, and so can a sequential file whose first scan does not hold all components.
 */
export function readJpegHeader(bytes: Uint8Array): ImageHeader | undefined {
  const file = asBuffer(bytes);
  let frame: Frame | undefined;
  let profiles = 0;
  let plain = true;
  let at = 2;
  for (let segments = 0; segments < everyday.segments; segments++) {
    const marker = file[at + 1] ?? 0;
    // Bytes between segments and markers without a length: encoders write neither here.
    if (at + 4 > file.length || file[at] !== 0xff || marker < 0xc0 || (marker >= 0xd0 && marker <= 0xd9) || marker === 0xff) break;
    const end = at + 2 + file.readUInt16BE(at + 2);
    const segment = file.subarray(at + 4, end);
    if (isFrame(marker) && segment.length >= 6) frame ??= readFrame(marker, segment);
    // A profile in several segments is a large one.
    if (marker === 0xe2 && segment.toString("latin1", 0, profileName.length) === profileName) {
      plain &&= ++profiles === 1 && isPlainProfile(segment);
    }
    if (marker === 0xda) {
      const whole = frame?.kind === "sequential" && segment[0] === frame.components;
      return headerOf(frame, plain ? (whole ? 1 : countScans(file.subarray(at))) : Infinity);
    }
    at = end;
  }
  return headerOf(frame, Infinity);
}

/** SOF0 to SOF15, without DHT, JPG and DAC, which lie among them. */
function isFrame(marker: number): boolean {
  return marker >= 0xc0 && marker <= 0xcf && marker !== 0xc4 && marker !== 0xc8 && marker !== 0xcc;
}

function readFrame(marker: number, segment: Buffer): Frame {
  return {
    height: segment.readUInt16BE(1),
    width: segment.readUInt16BE(3),
    components: segment[5] ?? 0,
    bytesPerSample: (segment[0] ?? 8) > 8 ? 2 : 1,
    kind: marker === 0xc0 || marker === 0xc1 ? "sequential" : marker === 0xc2 ? "progressive" : "other",
  };
}

/** In entropy-coded data 0xff is followed by 0 or by a marker, so that a scan cannot hide there. */
function countScans(rest: Buffer): number {
  if (rest.length > searchedBytes) return Infinity;
  let scans = 0;
  for (let at = 0; at >= 0; at = rest.indexOf(startOfScan, at + 2)) scans++;
  return scans;
}

function headerOf(frame: Frame | undefined, scans: number): ImageHeader | undefined {
  if (frame === undefined) return undefined;
  const { width, height, components, bytesPerSample, kind } = frame;
  const pixels = width * height;
  const work = kind === "other" ? Infinity : pixels * scans;
  return { width, height, decodedBytes: pixels * components * bytesPerSample, frames: 1, work };
}
