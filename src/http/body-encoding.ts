import type { IncomingMessage } from "node:http";

/** The Content-Encoding of a body that the client compressed; undefined where there is none. No server of ours unpacks bodies. */
export function bodyEncoding({ headers }: IncomingMessage): string | undefined {
  const encoding = headers["content-encoding"]?.trim() ?? "";
  const hasBody = headers["transfer-encoding"] !== undefined || Number(headers["content-length"] ?? 0) > 0;
  return hasBody && encoding !== "" && encoding.toLowerCase() !== "identity" ? encoding : undefined;
}
