import { createServer, type IncomingHttpHeaders, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

export interface FileServer {
  /** Address of the file. */
  readonly url: string;
  /** What is served, and how; tests change it between requests. */
  file: { bytes: Buffer; etag: string | null; lastModified: string | null };
  /** Cuts the connection after this number of bytes of the body, once for each number. */
  readonly cuts: number[];
  /** Answers 206 and 304 as a good server does; false for one that knows neither. */
  conditional: boolean;
  readonly requests: IncomingHttpHeaders[];
  close(): Promise<void>;
}

/** A real HTTP server on a free port that serves one file, with ranges, validators, and connections that break. */
export async function serveFile(bytes: Buffer): Promise<FileServer> {
  const server = createServer((request, response) => {
    state.requests.push(request.headers);
    if (request.url !== "/set.zip") {
      response.writeHead(404).end();
      return;
    }
    answer(state, request.headers, response);
  });
  await new Promise<void>((resolve) => void server.listen(0, "127.0.0.1", resolve));
  const state: FileServer = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/set.zip`,
    file: { bytes, etag: '"one"', lastModified: null },
    cuts: [],
    conditional: true,
    requests: [],
    close: () => close(server),
  };
  return state;
}

function answer(state: FileServer, headers: IncomingHttpHeaders, response: ServerResponse): void {
  const { bytes, etag, lastModified } = state.file;
  const common = { ...(etag !== null && { etag }), ...(lastModified !== null && { "last-modified": lastModified }) };
  if (state.conditional) {
    const known = headers["if-none-match"] ?? headers["if-modified-since"];
    if (known !== undefined && (known === etag || known === lastModified)) {
      response.writeHead(304, common).end();
      return;
    }
    const start = Number(/^bytes=(\d+)-$/.exec(headers.range ?? "")?.[1] ?? Number.NaN);
    const condition = headers["if-range"];
    if (!Number.isNaN(start) && (condition === undefined || condition === etag || condition === lastModified)) {
      if (start >= bytes.length) {
        response.writeHead(416, { "content-range": `bytes */${bytes.length}` }).end();
        return;
      }
      const rest = bytes.subarray(start);
      response.writeHead(206, {
        ...common,
        "content-length": rest.length,
        "content-range": `bytes ${start}-${bytes.length - 1}/${bytes.length}`,
      });
      send(state, rest, response);
      return;
    }
  }
  response.writeHead(200, { ...common, "content-length": bytes.length });
  send(state, bytes, response);
}

function send(state: FileServer, body: Buffer, response: ServerResponse): void {
  const cut = state.cuts.shift();
  if (cut === undefined) response.end(body);
  else response.write(body.subarray(0, cut), () => response.destroy());
}

async function close(server: Server): Promise<void> {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
}
