import { resolve } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { ServalError } from "../../errors/serval-error.ts";
import { HttpFailure, request, type HttpAnswer } from "../../http/client.ts";
import { isPublicHost } from "../../http/public-address.ts";
import type { S3Bucket } from "../../pipeline/remote/s3-bucket.ts";
import type { S3Environment } from "../../pipeline/remote/s3-settings.ts";
import { readPictureFile } from "../read-picture-file.ts";

export interface PictureReaderOptions {
  /** Paths are relative to it. */
  readonly cwd: string;
  readonly maxBytes: number;
  /** Whether addresses may lead to hosts that are not on the public internet. */
  readonly allowPrivate: boolean;
  readonly s3: S3Environment;
  readonly signal: AbortSignal;
}

const attempts = 3;
const pauseMs = 500;
const answerMs = 30_000;
const paceMs = 15_000;

/** Reads pictures by what a list may call them: a path, an http(s) address, or s3://BUCKET/KEY. */
export class PictureReader {
  readonly #options: PictureReaderOptions;
  readonly #buckets = new Map<string, S3Bucket>();

  constructor(options: PictureReaderOptions) {
    this.#options = options;
  }

  /** At most one byte more than a picture may have. Throws E_FILE_NOT_FOUND, E_DOWNLOAD, E_IMAGE_BYTES, E_REMOTE_*. */
  async read(name: string): Promise<Uint8Array> {
    const { cwd, maxBytes } = this.#options;
    if (/^https?:\/\//i.test(name)) return await this.#download(name);
    if (!name.startsWith("s3://")) return await readPictureFile(resolve(cwd, name), maxBytes);
    const [, bucket] = /^(s3:\/\/[^/]+)\/./.exec(name) ?? [];
    if (bucket === undefined) throw new ServalError("E_FILE_NOT_FOUND", `${name}: expected s3://BUCKET/KEY.`);
    return await (await this.bucket(bucket)).read(name, maxBytes);
  }

  /** `url`: s3://BUCKET or s3://BUCKET/PREFIX. */
  async bucket(url: string): Promise<S3Bucket> {
    const known = this.#buckets.get(url);
    if (known !== undefined) return known;
    // The SDK is large, and most jobs need none of it.
    const { S3Bucket } = await import("../../pipeline/remote/s3-bucket.ts");
    const bucket = this.#buckets.get(url) ?? new S3Bucket(url, this.#options.s3, { signal: this.#options.signal });
    this.#buckets.set(url, bucket);
    return bucket;
  }

  close(): void {
    for (const bucket of this.#buckets.values()) bucket.close();
  }

  async #download(address: string): Promise<Uint8Array> {
    const { allowPrivate, maxBytes, signal } = this.#options;
    const url = URL.parse(address);
    if (url === null) throw new ServalError("E_DOWNLOAD", `${address} is not a valid address.`);
    if (!allowPrivate && !(await isPublicHost(url.hostname))) {
      throw new ServalError("E_DOWNLOAD", `${address}: ${url.hostname} has no address on the public internet.`, {
        hint: "If the host is your own, add --allow-private.",
      });
    }
    for (let attempt = 1; ; attempt++) {
      try {
        return await request(address, {}, { answerMs, paceMs, maxBytes, redirects: "public" }, receive, signal);
      } catch (error) {
        signal.throwIfAborted();
        if (!(error instanceof HttpFailure)) throw error;
        const { problem, message } = error;
        if (problem === "too-large")
          throw new ServalError("E_IMAGE_BYTES", `${address} has more than ${maxBytes} bytes.`, { cause: error });
        if (problem === "redirect" || attempt === attempts)
          throw new ServalError("E_DOWNLOAD", `${address}: ${message}.`, { cause: error });
        await wait(pauseMs * attempt, undefined, { signal });
      }
    }
  }
}

async function receive({ ok, status, body }: HttpAnswer): Promise<Uint8Array> {
  const fault = `the answer has the HTTP status ${status}`;
  // A server in trouble may answer in a moment.
  if (status === 429 || status >= 500) throw new HttpFailure("broken", fault);
  if (!ok) throw new HttpFailure("redirect", fault);
  const chunks = await Array.fromAsync(body);
  return new Uint8Array(Buffer.concat(chunks));
}
