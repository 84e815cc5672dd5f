import { S3Client, type S3ClientConfig, type S3ServiceException } from "@aws-sdk/client-s3";
import { describeFailure } from "./link.ts";
import { boundAnswers } from "./s3-answers.ts";

export function openS3Client(config: S3ClientConfig): S3Client {
  const client = new S3Client({
    ...config,
    // The link repeats what failed, bodies that broke off included, which the SDK does not.
    maxAttempts: 1,
    // It would tell the terminal of each failed try.
    logger: { debug: ignore, info: ignore, warn: ignore, error: ignore },
    // Content-MD5 goes with every upload, and every download of data is hashed; other stores do not know the newer checksums.
    requestChecksumCalculation: "WHEN_REQUIRED",
    responseChecksumValidation: "WHEN_REQUIRED",
  });
  boundAnswers(client);
  return client;
}

function ignore(): void {}

export function statusOf(error: unknown): number | undefined {
  return (error as Partial<S3ServiceException>).$metadata?.httpStatusCode;
}

/** What is wrong, where trying again cannot help; undefined for what may pass. */
export function s3Refusal(error: unknown): string | undefined {
  const status = statusOf(error);
  const name = error instanceof Error ? error.name : "";
  if (name === "CredentialsProviderError" || /region is missing/i.test(String(error))) return describeFailure(error);
  // 5xx and throttling pass; so does a body that arrived with other bytes than were sent.
  if (status === undefined || status >= 500 || [200, 206, 408, 425, 429].includes(status)) return undefined;
  return ["BadDigest", "IncompleteBody", "RequestTimeout", "SlowDown"].includes(name) ? undefined : describeFailure(error);
}
