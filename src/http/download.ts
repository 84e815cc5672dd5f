import { mkdir, open, readFile, rename, rm, stat } from "node:fs/promises";
import { basename, join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { ServalError } from "../errors/serval-error.ts";
import { sha256, writeFileAtomic } from "../files.ts";
import { HttpFailure, request, type HttpAnswer } from "./client.ts";

export interface DownloadOptions {
  /** Where downloads are kept. */
  readonly dir: string;
  readonly signal?: AbortSignal | undefined;
  /** `total` is 0 where the server does not say. */
  readonly onProgress?: ((doneBytes: number, totalBytes: number) => void) | undefined;
  /** How often a broken connection is taken up again by itself. */
  readonly retries?: number;
  readonly retryDelayMs?: number;
  /** No larger file is kept. Default: 64 GiB, as much as is read out of an archive. */
  readonly maxBytes?: number;
  /** How long a server may send next to nothing, in milliseconds. */
  readonly silenceMs?: number;
}

const usualMaxBytes = 64 * 2 ** 30;
const usualSilenceMs = 60_000;

/** What the server said about the file that a download, whole or in part, belongs to. */
interface Remote {
  readonly url: string;
  readonly etag: string | null;
  readonly lastModified: string | null;
  readonly sizeBytes: number | null;
}

/**
 * Downloads a file once and returns its path. A broken download leaves `NAME.part`, and continues from there where the
 * server's ETag, Last-Modified and size say that it is still the same file (RFC 9110, 13.1.5 and 14.2). A file that is
 * there is only asked about, and used as it is when the server cannot be reached. A redirect is followed to public hosts only, and
 * never from https to http. Throws E_DOWNLOAD.
 */
export async function download(url: string, options: DownloadOptions): Promise<string> {
  const name = safeBasename(url);
  const path = join(options.dir, `${sha256(url).slice(0, 12)}-${name}`);
  await mkdir(options.dir, { recursive: true });
  const { retries = 4, retryDelayMs = 1000 } = options;
  for (let attempt = 0; ; attempt++) {
    try {
      await transfer(url, path, options);
      return path;
    } catch (error) {
      options.signal?.throwIfAborted();
      if (!(error instanceof HttpFailure)) throw error;
      if (error.problem === "too-large") await rm(`${path}.part`, { force: true });
      const lost = error.problem === "broken" || error.problem === "timeout";
      if (lost && attempt < retries) {
        await wait(retryDelayMs * (attempt + 1), undefined, options.signal && { signal: options.signal });
        continue;
      }
      if (lost && (await sizeOf(path)) !== undefined) return path;
      throw new ServalError("E_DOWNLOAD", `"${url}" could not be downloaded: ${error.message}.`, { cause: error });
    }
  }
}

function safeBasename(url: string): string {
  const name = decodeURIComponent(basename(new URL(url).pathname)).replaceAll(/[^A-Za-z0-9._-]/g, "_");
  return name === "" || name.startsWith(".") ? "download" : name;
}

async function transfer(url: string, path: string, options: DownloadOptions): Promise<void> {
  // Without a part the second request asks for the whole file.
  if (await askForRest(url, path, options)) await askForRest(url, path, options);
}

/** True where what we have is not a beginning of the file that is there now: it is removed, and the file must be asked for again. */
async function askForRest(url: string, path: string, options: DownloadOptions): Promise<boolean> {
  const part = `${path}.part`;
  const known = await readRemote(`${path}.json`, url);
  const whole = await sizeOf(path);
  const partial = whole === undefined && known !== undefined ? ((await sizeOf(part)) ?? 0) : 0;
  const headers = { "accept-encoding": "identity", ...conditions(known, whole, partial) };
  const { maxBytes = usualMaxBytes, silenceMs = usualSilenceMs, signal } = options;
  const bounds = { answerMs: silenceMs, paceMs: silenceMs, maxBytes: maxBytes - partial, redirects: "public" } as const;
  const use = async (answer: HttpAnswer): Promise<boolean> => {
    const { status } = answer;
    if (whole !== undefined && (status === 304 || isSame(remoteOf(url, answer), known, whole))) return false;
    const resumed = status === 206 && partial > 0 && known !== undefined;
    if (partial > 0 && (status === 416 || (resumed && !continues(answer, partial, known)))) {
      await rm(part, { force: true });
      return true;
    }
    if (!answer.ok || (status === 206 && !resumed)) {
      throw new ServalError("E_DOWNLOAD", `"${url}" answered with HTTP status ${status}.`);
    }
    refusePage(url, answer);
    const remote = resumed ? known : remoteOf(url, answer);
    if (remote.sizeBytes !== null && remote.sizeBytes > maxBytes) {
      throw new HttpFailure("too-large", `the server announces ${remote.sizeBytes} bytes, of which at most ${maxBytes} are taken`);
    }
    await writeFileAtomic(`${path}.json`, `${JSON.stringify(remote)}\n`);
    await receive(answer.body, part, resumed ? partial : 0, remote.sizeBytes, options);
    const size = await sizeOf(part);
    if (remote.sizeBytes !== null && size !== remote.sizeBytes) {
      throw new ServalError("E_DOWNLOAD", `"${url}" ended after ${size} of ${remote.sizeBytes} bytes.`);
    }
    await rename(part, path);
    return false;
  };
  return await request(url, { headers }, bounds, use, signal);
}

/** A sign-in page of a network, or an error page with status 200, must not become the file. */
function refusePage(url: string, { headers }: HttpAnswer): void {
  const type = headers.get("content-type") ?? "";
  if (!/^(text\/html|application\/xhtml)/i.test(type)) return;
  throw new ServalError("E_DOWNLOAD", `"${url}" answered with a web page (${type}) instead of a file.`, {
    hint: "Open the address in a browser: a network that asks you to sign in, or a server in trouble, answers in this way.",
  });
}

/** Every chunk that arrives is on its way to the disk before the next one is asked for, so a break loses nothing that we had. */
async function receive(
  body: AsyncIterable<Uint8Array>,
  part: string,
  start: number,
  total: number | null,
  options: DownloadOptions,
): Promise<void> {
  const file = await open(part, start > 0 ? "a" : "w");
  try {
    let done = start;
    for await (const chunk of body) {
      await file.appendFile(chunk);
      done += chunk.byteLength;
      options.onProgress?.(done, total ?? 0);
    }
    await file.sync();
  } finally {
    await file.close();
  }
}

function conditions(known: Remote | undefined, whole: number | undefined, partial: number): Record<string, string> {
  if (known === undefined) return {};
  if (whole !== undefined) {
    if (known.etag !== null) return { "if-none-match": known.etag };
    return known.lastModified === null ? {} : { "if-modified-since": known.lastModified };
  }
  if (partial === 0) return {};
  // A weak ETag does not promise equal bytes, so it may not be used here.
  const strong = known.etag?.startsWith("W/") === false ? known.etag : known.lastModified;
  return { range: `bytes=${partial}-`, ...(strong !== null && { "if-range": strong }) };
}

/** Whether a 200 to an unconditional request speaks of the file that we have. */
function isSame(remote: Remote, known: Remote | undefined, whole: number): boolean {
  if (known === undefined || remote.sizeBytes !== whole) return false;
  return remote.etag === known.etag && remote.lastModified === known.lastModified;
}

/** Whether a 206 carries on where the part ends, in the file that it is a part of. */
function continues(response: HttpAnswer, partial: number, known: Remote | undefined): boolean {
  const [, start, total] = /^bytes (\d+)-\d+\/(\d+|\*)$/.exec(response.headers.get("content-range") ?? "") ?? [];
  if (Number(start) !== partial) return false;
  const sameEtag = known?.etag == null || response.headers.get("etag") === null || response.headers.get("etag") === known.etag;
  return sameEtag && (total === "*" || known?.sizeBytes == null || Number(total) === known.sizeBytes);
}

function remoteOf(url: string, response: HttpAnswer): Remote {
  const length = response.headers.get("content-length");
  return {
    url,
    etag: response.headers.get("etag"),
    lastModified: response.headers.get("last-modified"),
    sizeBytes: length === null ? null : Number(length),
  };
}

async function readRemote(path: string, url: string): Promise<Remote | undefined> {
  try {
    const remote = JSON.parse(await readFile(path, "utf8")) as Remote;
    return remote.url === url ? remote : undefined;
  } catch {
    return undefined;
  }
}

async function sizeOf(path: string): Promise<number | undefined> {
  return (await stat(path).catch(() => undefined))?.size;
}
