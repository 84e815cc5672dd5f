import { createHash } from "node:crypto";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/** What goes wrong with the next request that fits, `times` times. */
export interface Fault {
  readonly method: string;
  readonly key?: RegExp;
  /** A status to answer with; `stall`: no further byte; `cut`: the connection ends in the middle; `flip`: one bit of the body changes. */
  readonly kind: number | "stall" | "cut" | "flip";
  times: number;
}

export interface ObjectStore {
  readonly url: string;
  /** Key -> bytes, of the bucket `data`. */
  readonly objects: Map<string, Buffer>;
  readonly faults: Fault[];
  /** `METHOD key` of each request, in the order of arrival. */
  readonly requests: string[];
  /** Called before a request is answered; the answer waits for it. */
  onRequest: (request: string) => Promise<void> | void;
  /** Keys a page of a list. */
  pageSize: number;
  close(): Promise<void>;
}

/** A real HTTP server on a free port in the shape of S3 (one bucket, path style) that can fail in the ways that networks do. */
export async function startObjectStore(): Promise<ObjectStore> {
  const server = createServer((request, response) => void answer(store, request, response));
  await new Promise<void>((resolve) => void server.listen(0, "127.0.0.1", resolve));
  const store: ObjectStore = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    objects: new Map(),
    faults: [],
    requests: [],
    onRequest: () => undefined,
    pageSize: 1000,
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  return store;
}

async function answer(store: ObjectStore, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const url = new URL(request.url ?? "/", store.url);
  const [, bucket, key = ""] = /^\/([^/]*)\/?(.*)$/.exec(decodeURIComponent(url.pathname)) ?? [];
  const method = request.method ?? "";
  store.requests.push(`${method} ${key}`);
  await store.onRequest(`${method} ${key}`);
  const fault = store.faults.find((one) => one.times > 0 && one.method === method && (one.key?.test(key) ?? true));
  if (fault) fault.times--;
  if (typeof fault?.kind === "number") return fail(response, fault.kind, fault.kind === 403 ? "AccessDenied" : "InternalError");
  if (bucket !== "data") return fail(response, 404, "NoSuchBucket");
  if (method === "GET" && key === "") return list(store, url, response);
  if (method === "PUT") return await receive(store, request, response, key, fault);
  if (fault?.kind === "stall") return;
  if (method === "DELETE") {
    store.objects.delete(key);
    response.writeHead(204).end();
    return;
  }
  const bytes = store.objects.get(key);
  if (bytes === undefined) return fail(response, 404, "NoSuchKey");
  response.writeHead(200, { "content-length": bytes.length, etag: `"${md5(bytes).toString("hex")}"` });
  if (method === "HEAD") response.end();
  else if (fault?.kind === "cut") response.write(bytes.subarray(0, bytes.length >> 1), () => response.destroy());
  else response.end(fault?.kind === "flip" ? flip(bytes) : bytes);
}

async function receive(store: ObjectStore, request: IncomingMessage, response: ServerResponse, key: string, fault?: Fault): Promise<void> {
  if (fault?.kind === "cut") {
    request.once("data", () => request.destroy());
    return;
  }
  const chunks: Buffer[] = [];
  try {
    for await (const chunk of request) chunks.push(chunk as Buffer);
  } catch {
    // The client gave up: nothing is stored.
    return;
  }
  if (fault?.kind === "stall") return;
  const sent = Buffer.concat(chunks);
  const bytes = fault?.kind === "flip" ? flip(sent) : sent;
  if (request.headers["content-md5"] !== md5(bytes).toString("base64")) return fail(response, 400, "BadDigest");
  store.objects.set(key, bytes);
  response.writeHead(200, { etag: `"${md5(bytes).toString("hex")}"` }).end();
}

function list(store: ObjectStore, url: URL, response: ServerResponse): void {
  const prefix = url.searchParams.get("prefix") ?? "";
  const after = url.searchParams.get("continuation-token") ?? "";
  const keys = [...store.objects.keys()].filter((key) => key.startsWith(prefix) && key > after).sort();
  const page = keys.slice(0, store.pageSize);
  const contents = page.map((key) => `<Contents><Key>${key}</Key><Size>${store.objects.get(key)?.length}</Size></Contents>`);
  const more = keys.length > page.length ? `<NextContinuationToken>${page.at(-1)}</NextContinuationToken>` : "";
  response
    .writeHead(200, { "content-type": "application/xml" })
    .end(`<ListBucketResult><IsTruncated>${more !== ""}</IsTruncated>${more}${contents.join("")}</ListBucketResult>`);
}

function fail(response: ServerResponse, status: number, code: string): void {
  response
    .writeHead(status, { "content-type": "application/xml" })
    .end(`<Error><Code>${code}</Code><Message>The store says ${code}.</Message></Error>`);
}

function flip(bytes: Buffer): Buffer {
  const changed = Buffer.from(bytes);
  changed[0] = (changed[0] ?? 0) ^ 1;
  return changed;
}

function md5(bytes: Buffer): Buffer {
  return createHash("md5").update(bytes).digest();
}
