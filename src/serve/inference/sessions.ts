import type { Size } from "../../image/preprocess.ts";
import type { Session, SessionOptions, Tensor } from "../../runtime/engine.ts";
import { onnxruntime } from "../../runtime/onnxruntime.ts";

/** The time of all cores against that of one, at most: the cores could answer as many requests in that time. */
const worthwhile = 0.8;

/** The sessions of one thread with one model. */
export interface Sessions {
  /** The one for a request; `alone`: nothing else is asked. */
  pick(alone: boolean): Session;
  /**
   * Makes the session over all cores, for requests that have the machine for themselves, and keeps it where it makes the model
   * much faster: of many small convolutions it does not. Its threads sleep when there is no request. To be called when
   * nothing waits; calls after the first do nothing.
   */
  widen(): Promise<void>;
  close(): Promise<void>;
}

/** Opens a session on one core. Throws E_ENGINE_MODEL. */
export async function openSessions(model: Uint8Array, input: Size, aloneThreads: number): Promise<Sessions> {
  const blank = { images: pixelTensor(input, new Uint8Array(input.height * input.width * 3), 1) };
  const open = async (bytes: Uint8Array, options: SessionOptions): Promise<Session> => {
    const session = await onnxruntime.createSession(bytes, options);
    await session.run(blank);
    return session;
  };
  const fastest = async (session: Session): Promise<number> => {
    const times: number[] = [];
    for (let i = 0; i < 5; i++) {
      const startedAt = performance.now();
      await session.run(blank);
      times.push(performance.now() - startedAt);
    }
    return Math.min(...times);
  };

  const narrow = await open(model, { threads: 1 });
  let wide = narrow;
  // Kept as long as a session may be made of it: it is megabytes.
  let rest = aloneThreads > 1 ? model : undefined;
  return {
    pick: (alone) => (alone ? wide : narrow),
    async widen() {
      const bytes = rest;
      rest = undefined;
      if (bytes === undefined) return;
      try {
        const session = await open(bytes, { threads: aloneThreads, spin: false });
        if ((await fastest(session)) < worthwhile * (await fastest(narrow))) wide = session;
        else await session.close();
      } catch {
        // The narrow one answers as well.
      }
    },
    async close() {
      for (const session of new Set([narrow, wide])) await session.close();
    },
  };
}

/** Pixels uint8 [count,H,W,3] as the model's input. */
export function pixelTensor({ height, width }: Size, data: Uint8Array, count: number): Tensor {
  return { dtype: "uint8", shape: [count, height, width, 3], data };
}
