import { createHash } from "node:crypto";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/** A local server that answers as a model hub does: small files at once, large ones by a redirect to an address that only has content. */
export interface ModelHub {
  readonly endpoint: string;
  /** `OWNER/NAME/REVISION/FILE` -> content. */
  readonly files: Map<string, Uint8Array>;
  /** Cuts the connection of the address with the content after this number of bytes, once for each number. */
  readonly cuts: number[];
  /** Takes the place of every answer of the hub. */
  override: ((response: ServerResponse) => void) | undefined;
  /** Where large files are redirected to, instead of to the address with the content. */
  redirect: string | undefined;
  /** `GET path`, with the range that was asked for, of both addresses. */
  readonly requests: string[];
  close(): Promise<void>;
}

export async function startModelHub(): Promise<ModelHub> {
  const log = (request: IncomingMessage, host: string): void =>
    void hub.requests.push([host, request.url, request.headers.range].filter(Boolean).join(" "));
  const front = createServer((request, response) => {
    // A real hub redirects to a public host. One on loopback may not: only its own address is followed there.
    const stored = /^\/content\/(.+)$/.exec(request.url ?? "")?.[1];
    if (stored !== undefined) {
      log(request, "cdn");
      const bytes = hub.files.get(decodeURIComponent(stored));
      if (bytes) sendContent(request, response, bytes, hub.cuts.shift());
      else response.writeHead(404).end();
      return;
    }
    log(request, "hub");
    if (hub.override) {
      hub.override(response);
      return;
    }
    const [, owner, name, revision, file] = /^\/([^/]+)\/([^/]+)\/resolve\/([^/]+)\/([^/]+)$/.exec(request.url ?? "") ?? [];
    const key = [owner, name, decodeURIComponent(revision ?? ""), file].join("/");
    const bytes = hub.files.get(key);
    if (!bytes) {
      response.writeHead(404, { "content-type": "text/plain", "x-error-code": "EntryNotFound" }).end("Entry not found");
    } else if (file === "model.safetensors") {
      const headers = { "x-repo-commit": "0".repeat(40), "x-linked-size": bytes.length, "x-linked-etag": etagOf(bytes) };
      response
        .writeHead(302, { ...headers, location: hub.redirect ?? `${addressOf(front)}/content/${encodeURIComponent(key)}` })
        .end("Found");
    } else {
      response.writeHead(200, { "content-type": "text/plain", "content-length": bytes.length, etag: etagOf(bytes) }).end(bytes);
    }
  });
  await new Promise<void>((resolve) => void front.listen(0, "127.0.0.1", resolve));
  const hub: ModelHub = {
    endpoint: addressOf(front),
    files: new Map(),
    cuts: [],
    override: undefined,
    redirect: undefined,
    requests: [],
    async close() {
      front.closeAllConnections();
      await new Promise((resolve) => front.close(resolve));
    },
  };
  return hub;
}

function addressOf(server: ReturnType<typeof createServer>): string {
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

function etagOf(bytes: Uint8Array): string {
  return `"${createHash("sha256").update(bytes).digest("hex")}"`;
}

function sendContent({ headers }: IncomingMessage, response: ServerResponse, bytes: Uint8Array, cut: number | undefined): void {
  const etag = etagOf(bytes);
  const start = Number(/^bytes=(\d+)-$/.exec(headers.range ?? "")?.[1] ?? 0);
  if (headers["if-none-match"] === etag) {
    response.writeHead(304, { etag }).end();
    return;
  }
  const partial = start > 0 && (headers["if-range"] === undefined || headers["if-range"] === etag);
  const body = partial ? bytes.subarray(start) : bytes;
  const range = partial ? { "content-range": `bytes ${start}-${bytes.length - 1}/${bytes.length}` } : {};
  response.writeHead(partial ? 206 : 200, { etag, "content-type": "application/octet-stream", "content-length": body.length, ...range });
  if (cut === undefined) response.end(body);
  else response.write(body.subarray(0, cut), () => response.destroy());
}
