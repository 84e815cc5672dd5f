import type { Size } from "../../image/preprocess.ts";
import type { Session, SessionOptions, Tensor } from "../../runtime/engine.ts";
import { onnxruntime } from "../../runtime/onnxruntime.ts";

/** The time of all cores against that of one, at most: the cores could answer as many requests in that time. */
const worthwhile = 0.8;

/** The sessions of one thread with one model: one on one core, and maybe one over all of them. */
export class Sessions {
  readonly #input: Size;
  readonly #threads: number;
  readonly #narrow: Session;
  #wide: Session;
  /** Kept as long as a session may be made of it: it is megabytes. */
  #model: Uint8Array | undefined;

  private constructor(model: Uint8Array, input: Size, aloneThreads: number, narrow: Session) {
    this.#input = input;
    this.#threads = aloneThreads;
    this.#narrow = narrow;
    this.#wide = narrow;
    this.#model = aloneThreads > 1 ? model : undefined;
  }

  /** Opens a session on one core. `aloneThreads`: those of the other one. Throws E_ENGINE_MODEL. */
  static async open(model: Uint8Array, input: Size, aloneThreads: number): Promise<Sessions> {
    return new Sessions(model, input, aloneThreads, await openWarm(model, input, { threads: 1 }));
  }

  /** The one for a request; `alone`: nothing else is asked. */
  pick(alone: boolean): Session {
    return alone ? this.#wide : this.#narrow;
  }

  /**
   * Makes the session over all cores, for requests that have the machine for themselves, and keeps it where it makes the model
   * much faster: of many small convolutions it does not. Its threads sleep when there is no request. To be called when
   * nothing waits; calls after the first do nothing.
   */
  async widen(): Promise<void> {
    const model = this.#model;
    this.#model = undefined;
    if (model === undefined) return;
    try {
      const session = await openWarm(model, this.#input, { threads: this.#threads, spin: false });
      if ((await fastestMs(session, this.#input)) < worthwhile * (await fastestMs(this.#narrow, this.#input))) this.#wide = session;
      else await session.close();
    } catch {
      // The narrow one answers as well.
    }
  }

  async close(): Promise<void> {
    for (const session of new Set([this.#narrow, this.#wide])) await session.close();
  }
}

/** A session that has answered once. */
async function openWarm(model: Uint8Array, input: Size, options: SessionOptions): Promise<Session> {
  const session = await onnxruntime.createSession(model, options);
  await session.run(blank(input));
  return session;
}

async function fastestMs(session: Session, input: Size): Promise<number> {
  const times: number[] = [];
  for (let i = 0; i < 5; i++) {
    const startedAt = performance.now();
    await session.run(blank(input));
    times.push(performance.now() - startedAt);
  }
  return Math.min(...times);
}

function blank(input: Size): Record<string, Tensor> {
  return { images: pixelTensor(input, new Uint8Array(input.height * input.width * 3), 1) };
}

/** Pixels uint8 [count,H,W,3] as the model's input. */
export function pixelTensor({ height, width }: Size, data: Uint8Array, count: number): Tensor {
  return { dtype: "uint8", shape: [count, height, width, 3], data };
}
