import { crc32, deflateRawSync } from "node:zlib";

export interface ZipPart {
  readonly name: string;
  readonly bytes?: Uint8Array;
  readonly deflate?: boolean;
  /** Lies about the unpacked size, in both headers. */
  readonly claimsBytes?: number;
  /** Lies about the checksum. */
  readonly claimsCrc?: number;
  /** Lies about where its local header is, in the directory. */
  readonly claimsOffset?: number;
  /** Bytes of the extra field that its local header alone says it has. */
  readonly localExtraBytes?: number;
  /** Unix mode with the file type, such as 0o120777 for a symbolic link. */
  readonly unixMode?: number;
}

/** Writes a zip archive by hand (APPNOTE 4.3), so that tests can write the ones that no packer would. */
export function zipFile(parts: readonly ZipPart[]): Buffer {
  const local: Buffer[] = [];
  const directory: Buffer[] = [];
  let offset = 0;
  for (const part of parts) {
    const bytes = Buffer.from(part.bytes ?? new Uint8Array());
    const packed = part.deflate === true ? deflateRawSync(bytes) : bytes;
    const name = Buffer.from(part.name);
    const common = Buffer.alloc(26);
    common.writeUInt16LE(20, 0);
    // Bit 11: the name is UTF-8.
    common.writeUInt16LE(0x800, 2);
    common.writeUInt16LE(part.deflate === true ? 8 : 0, 4);
    common.writeUInt32LE(part.claimsCrc ?? crc32(bytes), 10);
    common.writeUInt32LE(packed.length, 14);
    common.writeUInt32LE(part.claimsBytes ?? bytes.length, 18);
    common.writeUInt16LE(name.length, 22);
    const entry = Buffer.alloc(14);
    entry.writeUInt32LE(((part.unixMode ?? 0) << 16) >>> 0, 6);
    entry.writeUInt32LE(part.claimsOffset ?? offset, 10);
    const localCommon = Buffer.from(common);
    localCommon.writeUInt16LE(part.localExtraBytes ?? 0, 24);
    local.push(Buffer.concat([Buffer.from("PK\u0003\u0004"), localCommon, name, packed]));
    // Made on Unix (3), so that the attributes are a Unix mode.
    directory.push(Buffer.concat([Buffer.from("PK\u0001\u0002"), Buffer.from([20, 3]), common, entry, name]));
    offset += 30 + name.length + packed.length;
  }
  const end = Buffer.alloc(18);
  end.writeUInt16LE(parts.length, 4);
  end.writeUInt16LE(parts.length, 6);
  end.writeUInt32LE(Buffer.concat(directory).length, 8);
  end.writeUInt32LE(offset, 12);
  return Buffer.concat([...local, ...directory, Buffer.from("PK\u0005\u0006"), end]);
}
