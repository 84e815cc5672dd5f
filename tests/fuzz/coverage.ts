import { Session, type Profiler } from "node:inspector";

/**
 * The blocks of JavaScript that have run, as V8 counts them for its coverage. An input that reaches a new one is worth keeping: it
 * gets further than those before it.
 */
export class Coverage {
  readonly #session = new Session();
  readonly #seen = new Set<string>();

  constructor() {
    this.#session.connect();
    this.#session.post("Profiler.enable");
    this.#session.post("Profiler.startPreciseCoverage", { callCount: true, detailed: true });
  }

  get blocks(): number {
    return this.#seen.size;
  }

  /** The blocks that ran since the last call and never before. */
  takeNew(): Set<string> {
    const fresh = this.#take().filter((block) => !this.#seen.has(block));
    for (const block of fresh) this.#seen.add(block);
    return new Set(fresh);
  }

  /** Those of `wanted` that ran since the last call. */
  takeOf(wanted: ReadonlySet<string>): string[] {
    return this.#take().filter((block) => wanted.has(block));
  }

  #take(): string[] {
    let blocks: string[] = [];
    // The session answers before `post` returns.
    this.#session.post("Profiler.takePreciseCoverage", (error, { result }) => {
      if (error) throw error;
      blocks = result.filter(isOurs).flatMap(blocksOf);
    });
    return blocks;
  }
}

function blocksOf({ scriptId, functions }: Profiler.ScriptCoverage): string[] {
  const ranges = functions.flatMap((one) => one.ranges).filter(({ count }) => count > 0);
  return ranges.map(({ startOffset, endOffset }) => `${scriptId}:${startOffset}:${endOffset}`);
}

/** The sources, and the libraries that read what strangers send. */
function isOurs({ url }: Profiler.ScriptCoverage): boolean {
  return url.includes("/src/") || /node_modules\/(yaml|@fastify\/(busboy|multipart)|typebox)\//.test(url);
}
