import type { Readable } from "node:stream";
import { GetObjectCommand, ListObjectsV2Command, type S3Client } from "@aws-sdk/client-s3";
import { ServalError } from "../../errors/serval-error.ts";
import { createLink, describeFailure, type LinkOptions, type RemoteLink } from "./link.ts";
import type { RemoteRequest, RequestTarget } from "./remote.ts";
import { openS3Client, s3Refusal } from "./s3-client.ts";
import { readS3Settings, type S3Environment } from "./s3-settings.ts";

/** A request that moves next to nothing for this long has failed. */
const stallMs = 60_000;
/** A store may give a page without objects, but not one after the other. */
const mostEmptyPages = 100;
/** What S3 says of one object that cannot be read while others can: it is not there, not ours to read, or in an archive. */
const objectFaults: ReadonlySet<string> = new Set(["NoSuchKey", "AccessDenied", "InvalidObjectState"]);

export interface S3Object {
  /** Its full address: s3://BUCKET/KEY. */
  readonly name: string;
  readonly sizeBytes: number;
}

/** Reads the objects below a prefix of a bucket as they are, with the patience that remotes have. */
export class S3Bucket {
  readonly #bucket: string;
  readonly #prefix: string;
  readonly #client: S3Client;
  readonly #link: RemoteLink<RequestTarget>;

  /** `url`: s3://BUCKET/PREFIX, where the prefix is a folder. Credentials are those of every AWS tool. */
  constructor(url: string, env: S3Environment, options: LinkOptions) {
    const { bucket, prefix, client } = readS3Settings({ name: url, url, settings: {}, isOwn: true }, env, undefined);
    this.#bucket = bucket;
    this.#prefix = prefix;
    this.#client = openS3Client(client);
    const locate = (key: string): string => `s3://${bucket}/${key}`;
    this.#link = createLink({ name: url, url, jobs: undefined, stallMs, locate, refusal: s3Refusal }, options);
  }

  /** In the order of their names' bytes. Throws E_REMOTE_UNREACHABLE, E_REMOTE_REFUSED. */
  async *list(): AsyncGenerator<S3Object, void, undefined> {
    let token: string | undefined;
    let last = "";
    let emptyPages = 0;
    do {
      const from = { Bucket: this.#bucket, Prefix: this.#prefix, ...(token !== undefined && { ContinuationToken: token }) };
      const page = await this.#link.attempt("list", "", async ({ signal }) => {
        return await this.#client.send(new ListObjectsV2Command(from), { abortSignal: signal });
      });
      for (const { Key: key = "", Size: sizeBytes = 0 } of page.Contents ?? []) {
        if (Buffer.compare(Buffer.from(last), Buffer.from(key)) >= 0) throw this.#refuseOrder(last, key);
        last = key;
        yield { name: `s3://${this.#bucket}/${key}`, sizeBytes };
      }
      emptyPages = page.Contents?.length ? 0 : emptyPages + 1;
      const next = page.NextContinuationToken;
      if (next !== undefined && (next === token || emptyPages > mostEmptyPages)) {
        throw new ServalError("E_REMOTE_REFUSED", `s3://${this.#bucket}: the store gives pages that do not end, at last after "${last}".`);
      }
      token = next;
    } while (token !== undefined);
  }

  /**
   * The bytes of an object of this bucket, at most one more than `maxBytes`. Throws E_FILE_NOT_FOUND, or E_REMOTE_REFUSED with the
   * object's name in its details, where it is about this object alone; E_REMOTE_UNREACHABLE, E_REMOTE_REFUSED where others would fail too.
   */
  async read(name: string, maxBytes: number): Promise<Uint8Array> {
    const key = name.slice(`s3://${this.#bucket}/`.length);
    return await this.#link.attempt("get", key, async (request) => {
      try {
        return await this.#get(key, maxBytes, request);
      } catch (error) {
        if (!(error instanceof Error) || !objectFaults.has(error.name)) throw error;
        if (error.name === "NoSuchKey") throw new ServalError("E_FILE_NOT_FOUND", `${name} does not exist.`, { cause: error });
        throw new ServalError("E_REMOTE_REFUSED", `${name}: ${describeFailure(error)}.`, { cause: error, details: { object: name } });
      }
    });
  }

  close(): void {
    this.#client.destroy();
  }

  async #get(key: string, maxBytes: number, { signal, moved }: RemoteRequest): Promise<Uint8Array> {
    const command = new GetObjectCommand({ Bucket: this.#bucket, Key: key });
    const { Body } = await this.#client.send(command, { abortSignal: signal });
    const body = Body as Readable;
    // The SDK's signal ends with the headers.
    const end = (): void => void body.destroy(signal.reason as Error);
    signal.addEventListener("abort", end);
    const chunks: Uint8Array[] = [];
    let bytes = 0;
    try {
      for await (const chunk of body as AsyncIterable<Uint8Array>) {
        moved(chunk.length);
        chunks.push(chunk);
        bytes += chunk.length;
        if (bytes > maxBytes) break;
      }
    } finally {
      signal.removeEventListener("abort", end);
      body.destroy();
    }
    return Buffer.concat(chunks);
  }

  #refuseOrder(last: string, key: string): ServalError {
    return new ServalError("E_REMOTE_REFUSED", `s3://${this.#bucket}: the store lists "${key}" after "${last}": expected names in order.`, {
      hint: "Write the addresses to a file, one a line, and score that list.",
    });
  }
}
