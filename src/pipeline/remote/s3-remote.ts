import { Readable } from "node:stream";
import { statSync } from "node:fs";
import {
  DeleteObjectCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  type S3Client,
  type S3ServiceException,
} from "@aws-sdk/client-s3";
import { ServalError } from "../../errors/serval-error.ts";
import type { RemoteConfig } from "../dvc-files/dvc-config.ts";
import { copyHashed, readChecked } from "./copy-hashed.ts";
import { objectName, parseObjectName, type Remote, type RemoteObject, type RemoteRequest } from "./remote.ts";
import { openS3Client, s3Refusal, statusOf } from "./s3-client.ts";
import type { S3Settings } from "./s3-settings.ts";

/** What S3 takes in one request: https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html */
const putLimitBytes = 5 * 2 ** 30;

/** A store may give a page without objects, but not one after the other. */
const mostEmptyPages = 100;
const mostObjects = 10_000_000;

/** A bucket of S3, or of anything that speaks its protocol (MinIO, R2, Ceph, …). */
export function openS3Remote(config: RemoteConfig, settings: Pick<Remote, "jobs" | "stallMs"> & S3Settings): Remote {
  return new S3Remote(config, settings);
}

class S3Remote implements Remote {
  readonly name: string;
  readonly url: string;
  readonly jobs: number | undefined;
  readonly stallMs: number;
  readonly #bucket: string;
  readonly #prefix: string;
  readonly #put: S3Settings["put"];
  readonly #client: S3Client;

  constructor({ name, url }: RemoteConfig, { bucket, prefix, put, client, jobs, stallMs }: Pick<Remote, "jobs" | "stallMs"> & S3Settings) {
    this.name = name;
    this.url = url;
    this.jobs = jobs;
    this.stallMs = stallMs;
    this.#bucket = bucket;
    this.#prefix = `${prefix}files/md5/`;
    this.#put = put;
    this.#client = openS3Client(client);
  }

  locate(md5: string): string {
    return `s3://${this.#bucket}/${this.#place(md5).Key}`;
  }

  async has(md5: string, { signal }: RemoteRequest): Promise<boolean> {
    try {
      await this.#client.send(new HeadObjectCommand(this.#place(md5)), { abortSignal: signal });
      return true;
    } catch (error) {
      if (statusOf(error) === 404) return false;
      throw error;
    }
  }

  async list(digits: string, { signal, moved }: RemoteRequest): Promise<RemoteObject[]> {
    const objects: RemoteObject[] = [];
    let token: string | undefined;
    let emptyPages = 0;
    do {
      const from = { Bucket: this.#bucket, Prefix: `${this.#prefix}${digits}`, ...(token !== undefined && { ContinuationToken: token }) };
      const page = await this.#client.send(new ListObjectsV2Command(from), { abortSignal: signal });
      moved();
      for (const { Key = "", Size = 0 } of page.Contents ?? []) {
        const md5 = parseObjectName(Key.slice(this.#prefix.length));
        if (md5 !== undefined) objects.push({ md5, size: Size });
      }
      emptyPages = page.Contents?.length ? 0 : emptyPages + 1;
      const next = page.NextContinuationToken;
      if (next !== undefined && (next === token || emptyPages > mostEmptyPages || objects.length > mostObjects)) {
        const what = `Remote "${this.name}": list "${this.url}"`;
        throw new ServalError("E_REMOTE_REFUSED", `${what}: the store gives pages that do not end, ${objects.length} objects so far.`);
      }
      token = next;
    } while (token !== undefined);
    return objects;
  }

  async upload(md5: string, path: string, request: RemoteRequest): Promise<void> {
    const { size } = statSync(path);
    if (size > putLimitBytes) {
      throw new ServalError("E_REMOTE_REFUSED", `"${path}": ${size} bytes, and S3 takes at most ${putLimitBytes} in one piece.`, {
        hint: "Split the file, or use a folder as the remote.",
      });
    }
    await sendBody(readChecked(md5, path, request), request.signal, async (body, abortSignal) => {
      // The name is the digest: the store itself refuses other bytes.
      const digest = Buffer.from(md5.slice(0, 32), "hex").toString("base64");
      const input = { ...this.#put, ...this.#place(md5), Body: body, ContentLength: size, ContentMD5: digest };
      await this.#client.send(new PutObjectCommand(input), { abortSignal });
    });
  }

  async settle(): Promise<void> {
    // An object is there when its upload was answered.
  }

  async download(md5: string, path: string, maxBytes: number, { signal, moved }: RemoteRequest): Promise<string | null> {
    try {
      const { Body } = await this.#client.send(new GetObjectCommand(this.#place(md5)), { abortSignal: signal });
      const body = Body as Readable;
      // The SDK's signal ends with the headers.
      const end = (): void => void body.destroy(signal.reason as Error);
      signal.addEventListener("abort", end);
      try {
        return await copyHashed(body as AsyncIterable<Buffer>, path, maxBytes, moved);
      } finally {
        signal.removeEventListener("abort", end);
        body.destroy();
      }
    } catch (error) {
      if ((error as S3ServiceException).name === "NoSuchKey") return null;
      throw error;
    }
  }

  async remove(md5: string, { signal }: RemoteRequest): Promise<void> {
    await this.#client.send(new DeleteObjectCommand(this.#place(md5)), { abortSignal: signal });
  }

  refusal(error: unknown): string | undefined {
    return s3Refusal(error);
  }

  close(): void {
    this.#client.destroy();
  }

  #place(md5: string): { readonly Bucket: string; readonly Key: string } {
    return { Bucket: this.#bucket, Key: `${this.#prefix}${objectName(md5)}` };
  }
}

/** A stream that fails does not end a request of the SDK by itself. */
async function sendBody(
  chunks: AsyncIterable<Uint8Array>,
  signal: AbortSignal,
  send: (body: Readable, signal: AbortSignal) => Promise<void>,
): Promise<void> {
  const controller = new AbortController();
  const body = Readable.from(chunks);
  body.once("error", (error) => controller.abort(error));
  try {
    await send(body, AbortSignal.any([signal, controller.signal]));
  } catch (error) {
    throw controller.signal.aborted ? controller.signal.reason : error;
  } finally {
    body.destroy();
  }
}
