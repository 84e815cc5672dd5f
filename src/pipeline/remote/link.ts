import { availableParallelism } from "node:os";
import { setTimeout as wait } from "node:timers/promises";
import { ServalError, toServalError } from "../../errors/serval-error.ts";
import type { Remote, RemoteRequest, RequestTarget } from "./remote.ts";

/** How much a failing request is worth. */
export interface Effort {
  readonly attempts: number;
  /** The wait after the first failure; it doubles with each further one. */
  readonly delayMs: number;
  readonly maxDelayMs: number;
}

export interface LinkOptions {
  readonly signal: AbortSignal;
  /** Requests at once. Default: what the remote's configuration says, else 4 a core, at most 16. */
  readonly jobs?: number | undefined;
  readonly effort?: Effort;
}

/** A remote, with what makes its single tries dependable. */
export interface RemoteLink<Target extends RequestTarget = Remote> {
  readonly remote: Target;
  /** Repeats a request that may yet succeed. Throws E_REMOTE_REFUSED, E_REMOTE_UNREACHABLE, and what `work` itself finds wrong. */
  attempt<T>(verb: string, md5: string, work: (request: RemoteRequest) => Promise<T>): Promise<T>;
  /** Works on many items at once; the first that fails for good stops the others. */
  each<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void>;
}

const usualEffort: Effort = { attempts: 5, delayMs: 200, maxDelayMs: 5000 };

export function createLink<Target extends RequestTarget>(remote: Target, options: LinkOptions): RemoteLink<Target> {
  const { effort = usualEffort } = options;
  const jobs = options.jobs ?? remote.jobs ?? Math.min(16, 4 * availableParallelism());
  const controller = new AbortController();
  const signal = AbortSignal.any([options.signal, controller.signal]);
  return {
    remote,
    async attempt(verb, md5, work) {
      for (let tries = 1; ; tries++) {
        signal.throwIfAborted();
        try {
          return await watched(remote.stallMs, signal, work);
        } catch (error) {
          signal.throwIfAborted();
          if (error instanceof ServalError) throw error;
          const what = `Remote "${remote.name}": ${verb} ${md5 === "" ? `"${remote.url}"` : `"${remote.locate(md5)}"`}`;
          const refusal = refusalOfFiles(error) ?? remote.refusal(error);
          if (refusal !== undefined) throw new ServalError("E_REMOTE_REFUSED", `${what}: ${refusal}.`, { cause: error });
          if (tries >= effort.attempts) {
            const reason = `failed ${tries} times, at last with: ${describeFailure(error)}`;
            throw new ServalError("E_REMOTE_UNREACHABLE", `${what}: ${reason}.`, {
              cause: error,
              details: { object: md5, attempts: tries },
            });
          }
          await wait(backoff(tries, effort), undefined, { signal });
        }
      }
    },
    async each(items, work) {
      let next = 0;
      const worker = async (): Promise<void> => {
        try {
          while (next < items.length) {
            signal.throwIfAborted();
            await work(items[next++]!);
          }
        } catch (error) {
          // The requests of the other workers end at once; what they then say is only that.
          controller.abort(error);
          throw error;
        }
      };
      const outcomes = await Promise.allSettled(Array.from({ length: Math.min(jobs, items.length) }, worker));
      options.signal.throwIfAborted();
      if (controller.signal.aborted) throw controller.signal.reason;
      for (const outcome of outcomes) if (outcome.status === "rejected") throw outcome.reason;
    },
  };
}

/** Exponential, with "full jitter": clients that failed together do not come back together (Brooker 2015, AWS Architecture Blog). */
function backoff(tries: number, { delayMs, maxDelayMs }: Effort): number {
  return Math.random() * Math.min(maxDelayMs, delayMs * 2 ** (tries - 1));
}

/** Slower than any line that is worth waiting for; a server that sends a byte now and then is not waited for. */
const leastBytesPerSecond = 256;

/** Gives up a try in which next to nothing moves, also one that does not listen to its signal, such as a read from a dead network drive. */
async function watched<T>(stallMs: number, outer: AbortSignal, work: (request: RemoteRequest) => Promise<T>): Promise<T> {
  const controller = new AbortController();
  const signal = AbortSignal.any([outer, controller.signal]);
  let bytes = 0;
  const moved = (count = Number.POSITIVE_INFINITY): void => void (bytes += count);
  const timer = setInterval(() => {
    const enough = bytes >= (leastBytesPerSecond * stallMs) / 1000;
    if (!enough)
      controller.abort(
        new DOMException(`${bytes === 0 ? "no byte" : `only ${bytes} bytes`} moved for ${stallMs / 1000} s`, "TimeoutError"),
      );
    bytes = 0;
  }, stallMs);
  const given = Promise.withResolvers<never>();
  const giveUp = (): void => given.reject(signal.reason);
  signal.addEventListener("abort", giveUp);
  try {
    return await Promise.race([work({ signal, moved }), given.promise]);
  } catch (error) {
    // A request that was aborted reports it in its own words.
    throw controller.signal.aborted ? controller.signal.reason : error;
  } finally {
    clearInterval(timer);
    signal.removeEventListener("abort", giveUp);
  }
}

/** What a network drive says that is away for a moment; anything else that a file system says of a path stays. */
const passing: ReadonlySet<string> = new Set(["EIO", "ESTALE", "EAGAIN", "EBUSY", "ETIMEDOUT", "EHOSTDOWN", "ENETUNREACH"]);

/** What is wrong on a disk, the remote's or our own. Throws E_DISK_FULL. */
function refusalOfFiles(error: unknown): string | undefined {
  const known = toServalError(error);
  if (known.code === "E_DISK_FULL") throw known;
  const { code = "", path, message } = error as NodeJS.ErrnoException;
  return path === undefined || passing.has(code) ? undefined : message;
}

const longestReason = 300;

/** In one line: HTTP status where there is one, name, message. */
export function describeFailure(error: unknown): string {
  const { name, message, code, $metadata } = error as NodeJS.ErrnoException & { $metadata?: { httpStatusCode?: number } };
  const status = $metadata?.httpStatusCode === undefined ? "" : `HTTP ${$metadata.httpStatusCode} `;
  const text =
    message === "" || message === undefined
      ? (code ?? "no reason given")
      : message.split("\n")[0]?.slice(0, longestReason).replace(/\.$/, "");
  const kind = ["Error", "TimeoutError", "AggregateError"].includes(name) || text === name ? "" : `${name}: `;
  return `${status}${kind}${text}`;
}
