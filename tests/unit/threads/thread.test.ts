import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { ServalError } from "../../../src/errors/serval-error.ts";
import { startProcess, startWorker } from "../../../src/threads/carrier.ts";
import { Thread, type ThreadOptions } from "../../../src/threads/thread.ts";
import type { EchoData, EchoProtocol } from "../../helpers/echo-worker.ts";

type Options = Partial<ThreadOptions<EchoProtocol>> & { readonly data?: EchoData };
type Start = (options?: Options) => Thread<EchoProtocol>;

const file = new URL("../../helpers/echo-worker.ts", import.meta.url);
const lost: ThreadOptions<EchoProtocol>["lost"] = (loss) =>
  new ServalError("E_JOB_STOPPED", loss.kind === "ended" ? `ended${loss.how}` : `${loss.kind} after ${loss.afterMs}`);

function keep(thread: Thread<EchoProtocol>): Thread<EchoProtocol> {
  onTestFinished(() => thread.end(new ServalError("E_JOB_STOPPED", "The test is over.")));
  return thread;
}

const startThread: Start = ({ data, ...options } = {}) => keep(new Thread(startWorker({ file, name: "echo", data }), { lost, ...options }));
const startOtherProcess: Start = (options) => keep(new Thread(startProcess({ file, env: process.env }), { lost, ...options }));

async function thrown(work: Promise<unknown>): Promise<ServalError> {
  return await work.then(
    () => expect.fail("it did not throw"),
    (error: ServalError) => error,
  );
}

describe.each<[string, Start]>([
  ["a thread", startThread],
  ["a process", startOtherProcess],
])("%s", (_name, start) => {
  test("answers calls in their order, also those that were made before it was ready", async () => {
    const thread = start();
    expect(thread.state).toBe("starting");
    const order: number[] = [];
    const answers = [1, 2, 3].map(async (value) => {
      const answer = await thread.ask({ kind: "echo", value });
      order.push(value);
      return answer;
    });
    expect(thread.depth).toBe(3);
    expect(await Promise.all(answers)).toEqual([1, 2, 3]);
    expect([order, thread.depth, thread.state, thread.hasAnswered]).toEqual([[1, 2, 3], 0, "ready", true]);
  });

  test("throws what was thrown there, with code, message, hint, details, causes and the place", async () => {
    const error = await thrown(start().ask({ kind: "throw", what: "serval" }));
    expect(error).toBeInstanceOf(ServalError);
    expect(error).toMatchObject({ code: "E_TENSOR", message: "It does not fit.", hint: "Send another." });
    expect(error.details).toEqual({ shape: [1, 2], limit: 3 });
    expect(error.stack).toContain("throwWhat");
    const inner = error.cause as ServalError;
    expect(inner).toBeInstanceOf(ServalError);
    expect(inner).toMatchObject({ code: "E_IMAGE_CORRUPT", message: "Half of it.", hint: "The inner hint.", details: { at: 7 } });
    const system = inner.cause as NodeJS.ErrnoException;
    expect(system).toBeInstanceOf(TypeError);
    expect(system).toMatchObject({ message: "no space", code: "ENOSPC", errno: -28 });
    expect(system.cause).toBeInstanceOf(ServalError);
    expect(system.cause).toMatchObject({ code: "E_SHARDS_CORRUPT", message: "The deepest." });
  });

  test("gives an error of the system, or a thrown text, the code that it would have here", async () => {
    const thread = start();
    expect(await thrown(thread.ask({ kind: "throw", what: "full disk" }))).toMatchObject({
      code: "E_DISK_FULL",
      cause: { code: "ENOSPC" },
    });
    expect(await thrown(thread.ask({ kind: "throw", what: "text" }))).toMatchObject({
      code: "E_INTERNAL",
      message: "a text",
      cause: "a text",
    });
  });

  test("hears notes in order with the calls, and tells events", async () => {
    const events: string[] = [];
    const thread = start({ onEvent: (event) => void events.push(event) });
    thread.tell("one");
    const between = thread.ask({ kind: "heard" });
    thread.tell("two");
    expect([await between, await thread.ask({ kind: "heard" }), events]).toEqual([["one"], ["one", "two"], ["begun"]]);
  });

  test("that ends by itself rejects what it had, refuses what comes after, and says how it ended", async () => {
    const thread = start();
    const reasons: string[] = [];
    thread.onEnd(({ message }) => void reasons.push(message));
    const asked = [thread.ask({ kind: "exit", code: 7 }), thread.ask({ kind: "heard" })];
    for (const answer of asked) expect(await thrown(answer)).toMatchObject({ code: "E_JOB_STOPPED", message: "ended with code 7" });
    expect([thread.state, thread.depth, reasons]).toEqual(["ended", 0, ["ended with code 7"]]);
    expect((await thrown(thread.ask({ kind: "heard" }))).message).toBe("ended with code 7");
    thread.onEnd(({ message }) => void reasons.push(`late: ${message}`));
    expect(reasons.at(-1)).toBe("late: ended with code 7");
  });

  test("that gives no answer in time is given up, although it never returns", async () => {
    const thread = start({ silenceMs: 200 });
    await thread.ask({ kind: "heard" });
    expect((await thrown(thread.ask({ kind: "hang" }))).message).toBe("silent after 200");
    await thread.exited;
  });

  test("that is not ready in time is given up", async () => {
    const thread = start({ startMs: 1 });
    expect((await thrown(thread.ready)).message).toBe("slow start after 1");
    await thread.exited;
  });

  test("answers what it was asked, and ends, when it is closed", async () => {
    const thread = start();
    const asked = thread.ask({ kind: "echo", value: 1 });
    const closed = thread.close();
    expect(thread.state).toBe("closing");
    expect(await asked).toBe(1);
    await closed;
    expect(thread.state).toBe("ended");
  });
});

describe("in a thread", () => {
  test("what is transferred moves, there and back", async () => {
    const bytes = new Uint8Array([1, 2, 3]);
    const answer = (await startThread().ask({ kind: "double", bytes }, [bytes.buffer])) as Uint8Array;
    expect([bytes.byteLength, [...answer]]).toEqual([0, [2, 4, 6]]);
  });

  test("calls that came together are answered one by one", async () => {
    const thread = startThread();
    const [first, second] = thread.askEach([
      { kind: "throw", what: "text" },
      { kind: "echo", value: 2 },
    ]);
    expect((await thrown(first!)).message).toBe("a text");
    expect(await second).toBe(2);
  });

  test("an error whose details cannot be cloned arrives without them; so does an answer that cannot, as an error", async () => {
    const thread = startThread();
    const error = await thrown(thread.ask({ kind: "throw", what: "function" }));
    expect([error.code, error.message, error.details, error.cause]).toEqual(["E_TENSOR", "It does not fit.", {}, undefined]);
    expect((await thrown(thread.ask({ kind: "no clone" }))).message).toContain("could not be cloned");
    expect(await thread.ask({ kind: "echo", value: 1 })).toBe(1);
  });

  test("a call that cannot be cloned is refused, and the thread lives on", async () => {
    const thread = startThread();
    await expect(thread.ask({ kind: "echo", value: () => 1 })).rejects.toThrow("could not be cloned");
    expect([thread.depth, await thread.ask({ kind: "echo", value: 1 })]).toEqual([0, 1]);
  });

  test("a failed start is reported with its code, hint and details, and the thread ends", async () => {
    const thread = startThread({ data: { refuse: true } });
    const expected = { code: "E_ENGINE_MODEL", message: "No such model.", hint: "Bring one.", details: { byte: 3 } };
    expect(await thrown(thread.ask({ kind: "heard" }))).toMatchObject(expected);
    expect(await thrown(thread.ready)).toMatchObject(expected);
    await thread.exited;
  });

  test("one that is silent while it has nothing to do is left alone", async () => {
    const thread = startThread({ silenceMs: 30 });
    await thread.ready;
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(thread.state).toBe("ready");
  });

  test("the last thing that a closed thread does is its own", async () => {
    const dir = await mkdtemp(join(tmpdir(), "serval-threads-"));
    onTestFinished(async () => await rm(dir, { recursive: true }));
    const thread = startThread({ data: { closedFile: join(dir, "closed") } });
    thread.tell("a");
    thread.tell("b");
    await thread.close();
    expect(await readFile(join(dir, "closed"), "utf8")).toBe("a,b");
  });
});

test.each(["startWorker({ file, name: 'echo' })", "startProcess({ file, env: process.env })"])(
  "a thread that keeps the process while it is busy lets it end when it is idle: %s",
  async (carrier) => {
    const source = (path: string): string => JSON.stringify(join(import.meta.dirname, "../../../src/threads", path));
    const program = `
      import { startProcess, startWorker } from ${source("carrier.ts")};
      import { Thread } from ${source("thread.ts")};
      const file = new URL(${JSON.stringify(file.href)});
      const thread = new Thread(${carrier}, { lost: () => new Error("lost"), keepsProcess: "busy" });
      console.log(await thread.ask({ kind: "echo", value: "answered" }));
    `;
    const dir = await mkdtemp(join(tmpdir(), "serval-threads-"));
    await writeFile(join(dir, "program.ts"), program);
    const child = spawn(process.execPath, [join(dir, "program.ts")], { stdio: ["ignore", "pipe", "inherit"] });
    onTestFinished(async () => {
      child.kill("SIGKILL");
      await rm(dir, { recursive: true });
    });
    let output = "";
    child.stdout.on("data", (chunk) => (output += String(chunk)));
    expect((await once(child, "close"))[0]).toBe(0);
    expect(output).toBe("answered\n");
  },
);
