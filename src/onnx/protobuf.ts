/** The bytes are not fields of Protocol Buffers, or not as every reader would take them. */
export class ProtobufProblem {
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }
}

/**
 * Walks over the fields of one message without copying anything. Throws ProtobufProblem where a field leaves the message or is
 * written in a way that readers take differently. Source: protobuf.dev/programming-guides/encoding.
 */
export class ProtobufReader {
  readonly #bytes: Uint8Array;
  readonly #end: number;
  #at: number;
  #fieldStart = 0;
  #field = 0;
  #wireType = 0;

  constructor(bytes: Uint8Array, start = 0, end: number = bytes.length) {
    this.#bytes = bytes;
    this.#at = start;
    this.#end = end;
  }

  /** Number of the field that `next` came to. */
  get field(): number {
    return this.#field;
  }

  /** Whether the field holds a length and bytes: a message, a text, or numbers one after the other. */
  get isBytes(): boolean {
    return this.#wireType === 2;
  }

  /** Goes to the next field; false at the end. Its value has to be taken before the next call. */
  next(): boolean {
    if (this.#at >= this.#end) return false;
    this.#fieldStart = this.#at;
    const tag = this.#varint();
    // Readers cut a longer tag off, each in its own way.
    if (tag > 0xffff_ffff || tag < 8) throw new ProtobufProblem(`a field of number ${Math.floor(tag / 8)}`);
    this.#field = Math.floor(tag / 8);
    this.#wireType = tag % 8;
    return true;
  }

  /** The value of a varint field, rounded above 2^53; from 2^63 on it stands for a negative number. */
  number(): number {
    if (this.#wireType !== 0) throw new ProtobufProblem(`field ${this.#field} is not a number`);
    return this.#varint();
  }

  /** The varints of a field that is one, or up to `limit` one after the other. */
  numbers(limit: number): number[] {
    if (this.#wireType === 0) return [this.#varint()];
    const packed = this.message();
    const numbers: number[] = [];
    while (packed.#at < packed.#end) {
      if (numbers.length === limit) throw new ProtobufProblem(`field ${this.#field} holds more than ${limit} numbers`);
      numbers.push(packed.#varint());
    }
    return numbers;
  }

  /** The fields of a message inside this one. */
  message(): ProtobufReader {
    if (this.#wireType !== 2) throw new ProtobufProblem(`field ${this.#field} is not a message`);
    const length = this.skip();
    return new ProtobufReader(this.#bytes, this.#at - length, this.#at);
  }

  /** The start of a text, for a message to people and for comparing it with short ones. */
  text(maxBytes = 80): string {
    if (this.#wireType !== 2) throw new ProtobufProblem(`field ${this.#field} is not a text`);
    const length = this.skip();
    return new TextDecoder().decode(this.#bytes.subarray(this.#at - length, this.#at - length + Math.min(length, maxBytes)));
  }

  /** The whole field that `next` came to, once its value was taken: tag, length and value, without a copy. */
  get wholeField(): Uint8Array {
    return this.#bytes.subarray(this.#fieldStart, this.#at);
  }

  /** Passes over the value. Returns how many bytes it has, without its length. */
  skip(): number {
    const start = this.#at;
    if (this.#wireType === 0) this.#varint();
    else {
      const length = this.#wireType === 2 ? this.#varint() : { 1: 8, 5: 4 }[this.#wireType];
      if (length === undefined) throw new ProtobufProblem(`field ${this.#field} has the wire type ${this.#wireType}`);
      if (length > this.#end - this.#at) {
        throw new ProtobufProblem(`field ${this.#field} claims ${length} bytes, where ${this.#end - this.#at} are left`);
      }
      this.#at += length;
      return length;
    }
    return this.#at - start;
  }

  #varint(): number {
    let value = 0;
    for (let i = 0; i < 10; i++) {
      if (this.#at >= this.#end) break;
      const byte = this.#bytes[this.#at++] ?? 0;
      value += (byte & 127) * 2 ** (7 * i);
      if (byte < 128) return value;
    }
    throw new ProtobufProblem("a number has no end");
  }
}

/**
 * Protocol Buffers wire format, as far as ONNX needs it: varints, 32-bit floats and length-delimited fields.
 * Source: protobuf.dev/programming-guides/encoding.
 */
export class ProtobufWriter {
  #bytes = new Uint8Array(4096);
  #length = 0;

  #reserve(count: number): void {
    if (this.#length + count <= this.#bytes.length) return;
    const grown = new Uint8Array(Math.max(this.#bytes.length * 2, this.#length + count));
    grown.set(this.#bytes.subarray(0, this.#length));
    this.#bytes = grown;
  }

  #varint(value: number | bigint): void {
    let rest = BigInt.asUintN(64, BigInt(value));
    this.#reserve(10);
    while (rest > 127n) {
      this.#bytes[this.#length++] = Number(rest & 127n) | 128;
      rest >>= 7n;
    }
    this.#bytes[this.#length++] = Number(rest);
  }

  int(field: number, value: number | bigint): this {
    this.#varint(field << 3);
    this.#varint(value);
    return this;
  }

  float(field: number, value: number): this {
    this.#varint((field << 3) | 5);
    this.#reserve(4);
    new DataView(this.#bytes.buffer).setFloat32(this.#length, value, true);
    this.#length += 4;
    return this;
  }

  /** Begins a field of this number of bytes. The caller that joins the parts puts them behind it. */
  tag(field: number, length: number): this {
    this.#varint((field << 3) | 2);
    this.#varint(length);
    return this;
  }

  bytes(field: number, value: Uint8Array): this {
    this.tag(field, value.length);
    this.#reserve(value.length);
    this.#bytes.set(value, this.#length);
    this.#length += value.length;
    return this;
  }

  string(field: number, value: string): this {
    return this.bytes(field, new TextEncoder().encode(value));
  }

  message(field: number, write: (inner: ProtobufWriter) => void): this {
    const inner = new ProtobufWriter();
    write(inner);
    return this.bytes(field, inner.finish());
  }

  finish(): Uint8Array {
    return this.#bytes.subarray(0, this.#length);
  }
}
