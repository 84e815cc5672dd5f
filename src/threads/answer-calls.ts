import type { Transferable } from "node:worker_threads";
import { CallPort, type Port } from "./call-port.ts";
import type { Protocol } from "./messages.ts";

/** An answer with memory that moves instead of being copied. */
export class Moved<T> {
  readonly answer: T;
  readonly transfer: readonly Transferable[];

  constructor(answer: T, transfer: readonly Transferable[]) {
    this.answer = answer;
    this.transfer = transfer;
  }
}

type Result<T> = T | Moved<T>;

export interface Answers<P extends Protocol> {
  readonly call: (call: P["call"]) => Result<P["answer"]> | Promise<Result<P["answer"]>>;
  readonly note?: (note: P["note"]) => void | Promise<void>;
  /** Background work, a small piece at a time between the calls. True: there is more. */
  readonly idle?: { readonly everyMs: number; readonly work: () => Promise<boolean> };
  /** After all that came before. */
  readonly close?: () => void | Promise<void>;
}

/**
 * In the thread: answers what comes, one after the other. `begin` gets ready, and a way to tell events; what it throws refuses
 * the thread.
 */
export async function answerCalls<P extends Protocol>(
  port: Port,
  begin: (tell: (event: P["event"]) => void) => Answers<P> | Promise<Answers<P>>,
): Promise<void> {
  const calls = new CallPort<P>(port);
  let answers: Answers<P>;
  try {
    answers = await begin((event) => calls.event(event));
  } catch (error) {
    calls.refused(error);
    return;
  }
  const answer = async (id: number, call: P["call"]): Promise<void> => {
    try {
      const result: Result<P["answer"]> = await answers.call(call);
      if (result instanceof Moved) calls.done(id, result.answer, result.transfer);
      else calls.done(id, result);
    } catch (error) {
      calls.failed(id, error);
    }
  };
  let turn: Promise<void> = Promise.resolve();
  const inTurn = (work: () => void | Promise<void>): void => void (turn = turn.then(work));
  let closed = false;
  const { idle } = answers;
  const idleAfter = (ms: number): void => {
    if (idle === undefined || closed) return;
    const work = async (): Promise<void> => {
      if (!closed) idleAfter((await idle.work()) ? 0 : idle.everyMs);
    };
    setTimeout(() => inTurn(work), ms).unref();
  };
  calls.listen({
    calls: (numbered) => numbered.forEach(({ id, call }) => inTurn(async () => await answer(id, call))),
    note: (note) => inTurn(() => answers.note?.(note)),
    close: () =>
      inTurn(async () => {
        closed = true;
        await answers.close?.();
        calls.close();
      }),
  });
  idleAfter(idle?.everyMs ?? 0);
  calls.ready();
}
