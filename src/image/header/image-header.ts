/** What the bytes of a picture say about it before a pixel is decoded. */
export interface ImageHeader {
  /** As stored, before EXIF orientation. */
  readonly width: number;
  readonly height: number;
  /** All pixels of one frame, decoded: width x height x channels x bytes of a channel. */
  readonly decodedBytes: number;
  readonly frames: number;
  /**
   * What decoding costs at most, in units of about 3 ns of one core. Infinity where the file has a structure that everyday
   * pictures do not have: then it cannot be said.
   */
  readonly work: number;
  /** For 16 bits a channel with a colour profile: what kind of picture it is. */
  readonly deepProfile?: "gray" | "rgb";
}

type Bound = "segments" | "chunks" | "blocks" | "packedChunks" | "metadataBytes" | "exifBytes" | "profileBytes" | "frames";

/**
 * Metadata that an everyday picture stays under. Larger metadata is still decoded, but nothing is known of how long it
 * takes: libraries look through metadata in more than linear time.
 */
export const everyday: Readonly<Record<Bound, number>> = {
  /** JPEG segments before the pixels. */
  segments: 256,
  /** PNG and WebP chunks: encoders write pixels in chunks of 8 kB and more. */
  chunks: 10_000,
  /** GIF blocks: 255 bytes each in a file of 16 MiB are 66,000. */
  blocks: 100_000,
  /** PNG chunks that hold compressed text or a colour profile: each may unpack to megabytes. */
  packedChunks: 4,
  /** Metadata of a PNG or WebP in all. */
  metadataBytes: 1 << 20,
  exifBytes: 1 << 16,
  profileBytes: 1 << 16,
  frames: 1000,
};

/**
 * Whether a colour profile is of the plain kind, three curves and a matrix, as cameras and screens have it. Profiles with
 * tables, or with chains of steps, may be built to take minutes.
 */
export function isPlainProfile(profile: Buffer): boolean {
  return profile.length <= everyday.profileBytes && !["A2B", "B2A", "D2B", "B2D"].some((tag) => profile.includes(tag, 0, "latin1"));
}

export function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** The four letters that name a chunk, as the number that they are in the file: comparing numbers is much faster. */
export function chunkType(letters: string): number {
  return Buffer.from(letters, "latin1").readUInt32BE();
}
