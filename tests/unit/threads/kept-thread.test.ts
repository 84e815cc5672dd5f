import { describe, expect, onTestFinished, test } from "vitest";
import { ServalError } from "../../../src/errors/serval-error.ts";
import { startWorker } from "../../../src/threads/carrier.ts";
import { doublingPause, KeptThread, type KeptThreadOptions } from "../../../src/threads/kept-thread.ts";
import { Thread } from "../../../src/threads/thread.ts";
import type { EchoData, EchoProtocol } from "../../helpers/echo-worker.ts";

const file = new URL("../../helpers/echo-worker.ts", import.meta.url);
const start = (data?: EchoData): Thread<EchoProtocol> =>
  new Thread(startWorker({ file, name: "kept", data }), {
    lost: (loss) => new ServalError("E_JOB_STOPPED", loss.kind === "ended" ? `ended${loss.how}` : loss.kind),
  });

interface Kept {
  readonly kept: KeptThread<EchoProtocol>;
  readonly started: Thread<EchoProtocol>[];
  readonly pauses: number[];
  /** The state after each loss, and why. */
  readonly losses: string[];
}

function keep({ pauseMs = () => 0, begin = start }: Partial<KeptThreadOptions<EchoProtocol>> & { begin?: typeof start } = {}): Kept {
  const [started, pauses, losses]: [Thread<EchoProtocol>[], number[], string[]] = [[], [], []];
  const kept = new KeptThread<EchoProtocol>({
    start: () => {
      started.push(begin());
      return started.at(-1)!;
    },
    pauseMs: (unanswered) => {
      pauses.push(unanswered);
      return pauseMs(unanswered);
    },
    onLost: ({ message }) => void losses.push(`${message}, ${kept.state}`),
  });
  onTestFinished(async () => await kept.close());
  return { kept, started, pauses, losses };
}

const exit = (kept: KeptThread<EchoProtocol>): Promise<unknown> =>
  kept.thread!.ask({ kind: "exit", code: 3 }).catch((error: ServalError) => error.message);

describe("a kept thread", () => {
  test("that answered is replaced at once, and the next call is answered by another", async () => {
    const { kept, started, pauses, losses } = keep();
    expect(kept.state).toBe("idle");
    await kept.start();
    expect(kept.state).toBe("ready");
    expect(await kept.thread!.ask({ kind: "echo", value: 1 })).toBe(1);
    expect(await exit(kept)).toBe("ended with code 3");
    expect([losses, pauses]).toEqual([["ended with code 3, starting"], [0]]);
    expect(await kept.thread!.ask({ kind: "echo", value: 2 })).toBe(2);
    expect([kept.state, started.length]).toEqual(["ready", 2]);
  });

  test("that ends before it answers is replaced after a pause, and an answer forgets that", async () => {
    const { kept, started, pauses, losses } = keep({ pauseMs: doublingPause(1, 100) });
    await kept.start();
    for (const count of [1, 2, 3]) {
      await expect.poll(() => [started.length, kept.state], { interval: 2 }).toEqual([count, "ready"]);
      await exit(kept);
    }
    expect(pauses).toEqual([1, 2, 3]);
    expect(losses).toEqual(Array.from({ length: 3 }, () => "ended with code 3, pausing"));
    await expect.poll(() => kept.state, { interval: 2 }).toBe("ready");
    await kept.thread!.ask({ kind: "echo", value: 1 });
    await exit(kept);
    expect(pauses.at(-1)).toBe(0);
  });

  test("is not replaced where the rule says so", async () => {
    const { kept, started } = keep({ pauseMs: () => undefined });
    await kept.start();
    await exit(kept);
    expect([kept.state, kept.thread, started.length]).toEqual(["stopped", undefined, 1]);
  });

  test("that cannot start tells the one that started it why, and is tried again", async () => {
    let refuse = true;
    const { kept, losses } = keep({ pauseMs: doublingPause(1, 100), begin: () => start({ refuse }) });
    await expect(kept.start()).rejects.toMatchObject({ code: "E_ENGINE_MODEL", hint: "Bring one." });
    expect(losses).toEqual(["No such model., pausing"]);
    refuse = false;
    await expect.poll(() => kept.state, { interval: 2 }).toBe("ready");
  });

  test("is tried again where the system gave no thread", async () => {
    let full = false;
    const begin = (): Thread<EchoProtocol> => {
      if (full) throw new ServalError("E_INTERNAL", "no more threads");
      return start();
    };
    const { kept, pauses } = keep({ pauseMs: doublingPause(1, 4), begin });
    await kept.start();
    full = true;
    await exit(kept);
    await expect.poll(() => pauses.length, { interval: 2 }).toBeGreaterThan(3);
    full = false;
    await expect.poll(() => kept.state, { interval: 2 }).toBe("ready");
  });

  test("may be one that was started ahead", async () => {
    const { kept, started } = keep();
    const ahead = start();
    await kept.start(ahead);
    expect([kept.thread, started.length]).toEqual([ahead, 0]);
  });

  test("is not replaced once it is closed", async () => {
    const { kept, started, losses } = keep();
    await kept.start();
    const asked = kept.thread!.ask({ kind: "echo", value: 1 });
    await kept.close();
    expect([await asked, kept.state, kept.thread, started.length, losses]).toEqual([1, "closed", undefined, 1, []]);
  });
});

test("the pause doubles up to the longest, and there is none after a thread that answered", () => {
  const pauseMs = doublingPause(200, 1000);
  expect([0, 1, 2, 3, 4, 50].map(pauseMs)).toEqual([0, 200, 400, 800, 1000, 1000]);
});
