import { Readable } from "node:stream";
import { boundAnswers } from "./s3-answers.ts";
import { statSync } from "node:fs";
import {
  DeleteObjectCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  S3Client,
  type S3ServiceException,
} from "@aws-sdk/client-s3";
import { ServalError } from "../../errors/serval-error.ts";
import type { RemoteConfig } from "../dvc-files/dvc-config.ts";
import { copyHashed, readChecked } from "./copy-hashed.ts";
import { describeFailure } from "./link.ts";
import { objectName, parseObjectName, type Remote, type RemoteObject } from "./remote.ts";
import type { S3Settings } from "./s3-settings.ts";

/** What S3 takes in one request: https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html */
const putLimitBytes = 5 * 2 ** 30;

/** A store may give a page without objects, but not one after the other. */
const mostEmptyPages = 100;
const mostObjects = 10_000_000;

/** A bucket of S3, or of anything that speaks its protocol (MinIO, R2, Ceph, …). */
export function openS3Remote(config: RemoteConfig, settings: Pick<Remote, "jobs" | "stallMs"> & S3Settings): Remote {
  const { bucket, prefix, put } = settings;
  const client = new S3Client({
    ...settings.client,
    // The link repeats what failed, bodies that broke off included, which the SDK does not.
    maxAttempts: 1,
    // It would tell the terminal of each failed try.
    logger: { debug: ignore, info: ignore, warn: ignore, error: ignore },
    // Content-MD5 goes with every upload, and every download is hashed; other stores do not know the newer checksums.
    requestChecksumCalculation: "WHEN_REQUIRED",
    responseChecksumValidation: "WHEN_REQUIRED",
  });
  boundAnswers(client);
  const keyOf = (md5: string): string => `${prefix}files/md5/${objectName(md5)}`;
  return {
    name: config.name,
    url: config.url,
    jobs: settings.jobs,
    stallMs: settings.stallMs,
    locate: (md5) => `s3://${bucket}/${keyOf(md5)}`,
    async has(md5, { signal }) {
      try {
        await client.send(new HeadObjectCommand({ Bucket: bucket, Key: keyOf(md5) }), { abortSignal: signal });
        return true;
      } catch (error) {
        if (statusOf(error) === 404) return false;
        throw error;
      }
    },
    async list(digits, { signal, moved }) {
      const top = `${prefix}files/md5/`;
      const objects: RemoteObject[] = [];
      let token: string | undefined;
      let emptyPages = 0;
      do {
        const page = await client.send(
          new ListObjectsV2Command({ Bucket: bucket, Prefix: `${top}${digits}`, ...(token !== undefined && { ContinuationToken: token }) }),
          { abortSignal: signal },
        );
        moved();
        for (const { Key = "", Size = 0 } of page.Contents ?? []) {
          const md5 = parseObjectName(Key.slice(top.length));
          if (md5 !== undefined) objects.push({ md5, size: Size });
        }
        emptyPages = page.Contents?.length ? 0 : emptyPages + 1;
        const next = page.NextContinuationToken;
        if (next !== undefined && (next === token || emptyPages > mostEmptyPages || objects.length > mostObjects)) {
          const what = `Remote "${config.name}": list "${config.url}"`;
          throw new ServalError("E_REMOTE_REFUSED", `${what}: the store gives pages that do not end, ${objects.length} objects so far.`);
        }
        token = next;
      } while (token !== undefined);
      return objects;
    },
    async upload(md5, path, request) {
      const { size } = statSync(path);
      if (size > putLimitBytes) {
        throw new ServalError("E_REMOTE_REFUSED", `"${path}": ${size} bytes, and S3 takes at most ${putLimitBytes} in one piece.`, {
          hint: "Split the file, or use a folder as the remote.",
        });
      }
      await sendBody(readChecked(md5, path, request), request.signal, async (body, abortSignal) => {
        // The name is the digest: the store itself refuses other bytes.
        const digest = Buffer.from(md5.slice(0, 32), "hex").toString("base64");
        const input = { ...put, Bucket: bucket, Key: keyOf(md5), Body: body, ContentLength: size, ContentMD5: digest };
        await client.send(new PutObjectCommand(input), { abortSignal });
      });
    },
    settle: () => Promise.resolve(),
    async download(md5, path, maxBytes, { signal, moved }) {
      try {
        const { Body } = await client.send(new GetObjectCommand({ Bucket: bucket, Key: keyOf(md5) }), { abortSignal: signal });
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
    },
    async remove(md5, { signal }) {
      await client.send(new DeleteObjectCommand({ Bucket: bucket, Key: keyOf(md5) }), { abortSignal: signal });
    },
    refusal(error) {
      const status = statusOf(error);
      const name = error instanceof Error ? error.name : "";
      if (name === "CredentialsProviderError" || /region is missing/i.test(String(error))) return describeFailure(error);
      // 5xx and throttling pass; so does a body that arrived with other bytes than were sent.
      if (status === undefined || status >= 500 || [200, 206, 408, 425, 429].includes(status)) return undefined;
      return ["BadDigest", "IncompleteBody", "RequestTimeout", "SlowDown"].includes(name) ? undefined : describeFailure(error);
    },
    close: () => client.destroy(),
  };
}

function ignore(): void {}

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

function statusOf(error: unknown): number | undefined {
  return (error as Partial<S3ServiceException>).$metadata?.httpStatusCode;
}
