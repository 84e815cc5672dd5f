import { execFileSync, spawn, type ChildProcess } from "node:child_process";
import { existsSync, readFileSync, readdirSync } from "node:fs";
import { createServer, type AddressInfo } from "node:net";
import { once } from "node:events";
import os from "node:os";
import { join } from "node:path";
import sharp from "sharp";
import { createRandom } from "../src/data/sources/drawing/random.ts";
import { openSource } from "../src/data/sources/open-source.ts";
import { readEntry } from "../src/data/sources/source.ts";
import { Connection, formRequest } from "./load.ts";

const root = join(import.meta.dirname, "..");
const venvPython = join(root, ".venv/bin/python");
const python = existsSync(venvPython) ? venvPython : "python3";

export interface Server {
  readonly name: string;
  readonly port: number;
  /** From the start of the process to the answer to its first prediction. */
  readonly coldStartMs: number;
  /** Resident memory of the process and its children, in MB. */
  memoryMb(): number;
  /** CPU time that the process and its children have used, in ms. Other work on the machine hardly changes it. */
  cpuMs(): number;
  stop(): Promise<void>;
}

export type ServerKind = "serval" | "plain" | "tuned";

/** What the image runs: the program in few files. Built once for each benchmark. */
let program: string | undefined;

export function builtProgram(): string {
  if (program === undefined)
    execFileSync("npm", ["run", "--silent", "build:program"], { cwd: root, stdio: ["ignore", "ignore", "inherit"] });
  return (program ??= join(root, "dist/cli/main.js"));
}

/** Starts a server and waits for its first prediction. `prefix`: such as `taskset -c 0`. */
export async function startServer(
  kind: ServerKind,
  bundle: string,
  stateDir: string,
  image: Uint8Array,
  { prefix = [], env = {} }: { readonly prefix?: readonly string[]; readonly env?: Readonly<Record<string, string>> } = {},
): Promise<Server> {
  const port = await freePort();
  const uvicorn = [python, "-m", "uvicorn", `${kind}:app`, "--port", String(port), "--app-dir", join(import.meta.dirname, "peers")];
  const commands: Readonly<Record<ServerKind, () => readonly string[]>> = {
    serval: () => [process.execPath, builtProgram(), "serve", "--port", String(port), "--model", bundle],
    plain: () => [...uvicorn, "--log-level", "warning"],
    tuned: () => [
      ...uvicorn,
      "--log-level",
      "warning",
      "--workers",
      String(os.availableParallelism()),
      "--loop",
      "uvloop",
      "--http",
      "httptools",
    ],
  };
  const [command = "", ...args] = [...prefix, ...commands[kind]()];
  const startedAt = performance.now();
  const child = spawn(command, args, {
    cwd: root,
    // As the image sets it; PyTorch's services are left as their images are.
    env: {
      ...process.env,
      ...(kind === "serval" ? { MALLOC_ARENA_MAX: "2" } : {}),
      BENCH_BUNDLE: bundle,
      SERVAL_STATE_DIR: stateDir,
      SERVAL_DRAIN_MS: "0",
      ...env,
    },
    stdio: ["ignore", "ignore", "inherit"],
  });
  const abandon = (): void => void child.kill("SIGKILL");
  process.once("exit", abandon);
  await waitForAnswer(child, port, formRequest("/predict", image));
  const coldStartMs = performance.now() - startedAt;
  return {
    name: kind,
    port,
    coldStartMs,
    memoryMb: () => familyOf(child.pid ?? 0).reduce((sum, pid) => sum + residentMb(pid), 0),
    cpuMs: () => familyOf(child.pid ?? 0).reduce((sum, pid) => sum + usedCpuMs(pid), 0),
    async stop() {
      process.off("exit", abandon);
      child.kill("SIGTERM");
      await once(child, "exit");
    },
  };
}

async function waitForAnswer(child: ChildProcess, port: number, request: Buffer): Promise<void> {
  for (;;) {
    if (child.exitCode !== null) throw new Error(`${child.spawnargs.join(" ")} ended with ${child.exitCode}`);
    const connection = new Connection(port);
    const answer = await connection.ask(request).catch(() => undefined);
    connection.end();
    if (answer?.status === 200) return;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}

function familyOf(pid: number): number[] {
  const children = readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .filter((name) => {
      try {
        return Number(/^PPid:\s+(\d+)/m.exec(readFileSync(`/proc/${name}/status`, "utf8"))?.[1]) === pid;
      } catch {
        return false; // ended meanwhile
      }
    });
  return [pid, ...children.flatMap((child) => familyOf(Number(child)))];
}

function residentMb(pid: number): number {
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? 0) / 1000;
}

/** proc(5): user and system time in ticks of 10 ms, the 14th and 15th field; the second may hold spaces. */
function usedCpuMs(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8")
    .replace(/^.*\) /, "")
    .split(" ");
  return 10 * (Number(fields[11]) + Number(fields[12]));
}

export interface Images {
  /** As the source has them. */
  readonly native: readonly Buffer[];
  /** Enlarged to 500x375 with seeded noise, JPEG quality 90: the size of photographs on the web. */
  readonly enlarged: readonly Buffer[];
}

/** `count` fixed pictures of a zip or folder of labelled pictures, or of the drawn sample. */
export async function readImages(source: string, count: number): Promise<Images> {
  const opened = await openSource(source);
  const stride = Math.max(1, Math.floor(opened.count / count));
  const native: Buffer[] = [];
  let seen = 0;
  for await (const entry of opened.entries()) {
    if (native.length === count) break;
    if (seen++ % stride !== 1 || entry.path === undefined) continue;
    native.push(Buffer.from(await readEntry(entry, 1 << 24)));
  }
  await opened.close();
  return { native, enlarged: await Promise.all(native.map(enlarge)) };
}

async function enlarge(bytes: Buffer, index: number): Promise<Buffer> {
  const size = { width: 500, height: 375 };
  const random = createRandom(`bench ${index}`);
  const pixels = await sharp(bytes)
    .resize(size.width, size.height, { fit: "fill", kernel: "lanczos3" })
    .flatten()
    .toColourspace("srgb")
    .raw()
    .toBuffer();
  // Enlarged pictures are smoother than photographs: the noise of a sensor gives the decoder its usual work.
  for (let i = 0; i < pixels.length; i++) pixels[i] = Math.max(0, Math.min(255, (pixels[i] as number) + Math.round(5 * random.normal())));
  return await sharp(pixels, { raw: { ...size, channels: 3 } })
    .jpeg({ quality: 90 })
    .toBuffer();
}
