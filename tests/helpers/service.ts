import { EventEmitter, once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import type { Bundle } from "../../src/model/bundle.ts";
import type { AccessRules } from "../../src/serve/http/rules.ts";
import { defaultLimits, type ServeLimits } from "../../src/serve/inference/limits.ts";
import { startService, type Service, type ServiceOptions } from "../../src/serve/service.ts";
import { writeTinyBundle, type TinyOptions } from "./tiny-bundle.ts";

export type LogLine = Record<string, unknown>;

export interface TestService extends Service {
  readonly bundle: Bundle;
  /** Folder of the test, with `bundle` and `predictions.db` in it. */
  readonly root: string;
  /** Every log line so far, as written. */
  readonly lines: string[];
  /** Resolves with the next request line of the log that passes the test, also one that was written already. */
  logged(test: (line: LogLine) => boolean): Promise<LogLine>;
}

export interface TestServiceOptions {
  readonly limits?: Partial<ServeLimits>;
  readonly access?: AccessRules;
  readonly bundle?: TinyOptions;
  readonly workers?: number;
  /** Whatever else the service is started with. */
  readonly service?: Partial<ServiceOptions>;
}

/** A service of a tiny bundle on a free port, with its log kept. `close` removes its folder. */
export async function startTestService(options: TestServiceOptions = {}): Promise<TestService> {
  const root = await mkdtemp(join(tmpdir(), "serval-serve-"));
  const bundle = await writeTinyBundle(join(root, "bundle"), options.bundle);
  const lines: string[] = [];
  const arrivals = new EventEmitter();
  const stream = {
    write(line: string): void {
      lines.push(line);
      arrivals.emit("line");
    },
    close: async (): Promise<void> => undefined,
  };
  const service = await startService({
    modelDir: bundle.dir,
    host: "127.0.0.1",
    port: 0,
    // `x` is what requests that a test writes by hand call it.
    access: { allowedHosts: ["x"], ...options.access },
    limits: { ...defaultLimits, ...options.limits },
    predictionLogFile: join(root, "predictions.db"),
    log: { level: "info", stream },
    threads: 1,
    workers: options.workers ?? 1,
    ...options.service,
  });
  return {
    ...service,
    get model() {
      return service.model;
    },
    bundle,
    root,
    lines,
    async logged(test) {
      for (;;) {
        const found = lines.map((line) => JSON.parse(line) as LogLine).find(test);
        if (found) return found;
        await once(arrivals, "line");
      }
    },
    async close() {
      await service.close();
      await rm(root, { recursive: true });
    },
  };
}

export interface JsonReply {
  readonly status: number;
  readonly headers: Headers;
  // The shape is what the tests are about.
  // oxlint-disable-next-line typescript/no-explicit-any
  readonly body: any;
}

export async function readReply(response: Response): Promise<JsonReply> {
  return { status: response.status, headers: response.headers, body: await response.json() };
}

export async function getJson(service: Service, path: string, headers: Record<string, string> = {}): Promise<JsonReply> {
  return await readReply(await fetch(`${service.url}${path}`, { headers }));
}

/** A form with files: [field, bytes, file name]. */
export function form(...files: readonly (readonly [field: string, bytes: Uint8Array | string, name?: string | undefined])[]): FormData {
  const data = new FormData();
  for (const [field, bytes, name = "image.jpg"] of files) {
    if (typeof bytes === "string") data.append(field, bytes);
    else data.append(field, new Blob([new Uint8Array(bytes)]), name);
  }
  return data;
}

export async function predictForm(service: Service, picture: Uint8Array, name?: string): Promise<JsonReply> {
  return await readReply(await fetch(`${service.url}/predict`, { method: "POST", body: form(["file", picture, name]) }));
}

export async function predictBody(service: Service, body: Uint8Array | string, contentType: string): Promise<JsonReply> {
  const init = { method: "POST", body: body as Uint8Array<ArrayBuffer>, headers: { "content-type": contentType } };
  return await readReply(await fetch(`${service.url}/predict`, init));
}

/** Sends bytes as they are and returns everything that comes back until the server closes the connection. */
export async function sendRaw(service: Service, bytes: string): Promise<string> {
  const socket = connect(service.port, "127.0.0.1");
  socket.write(bytes);
  return await text(socket);
}
