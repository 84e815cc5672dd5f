import { spawn, spawnSync, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { chownSync, existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort } from "../helpers/free-port.ts";

const versions = "/usr/lib/postgresql";

/** A real PostgreSQL with its data in a temporary folder, on a free port of the loopback. */
export class PostgresServer {
  readonly port: number;
  readonly #root: string;
  readonly #user: { uid?: number; gid?: number };
  #child: ChildProcess | undefined;

  private constructor(port: number, root: string, user: { uid?: number; gid?: number }) {
    this.port = port;
    this.#root = root;
    this.#user = user;
  }

  /** Needs Debian's package `postgresql`. */
  static async start(): Promise<PostgresServer> {
    const root = mkdtempSync(join(tmpdir(), "serval-postgres-"));
    // The server refuses to run as root.
    const user = process.getuid?.() === 0 ? { uid: idOf("-u"), gid: idOf("-g") } : {};
    if (user.uid !== undefined && user.gid !== undefined) chownSync(root, user.uid, user.gid);
    const server = new PostgresServer(await freePort(), root, user);
    const made = spawnSync(
      program("initdb"),
      ["--pgdata", join(root, "data"), "--auth", "trust", "--username", "serval", "--encoding", "UTF8", "--no-sync"],
      {
        cwd: root,
        encoding: "utf8",
        ...user,
      },
    );
    if (made.status !== 0) throw new Error(`initdb ended with ${made.status}: ${made.stderr}`);
    await server.resume();
    return server;
  }

  get url(): string {
    return `postgres://serval:not-asked-for@127.0.0.1:${this.port}/postgres`;
  }

  /** Starts it again with the data that it had. */
  async resume(): Promise<void> {
    const options = [
      "-D",
      join(this.#root, "data"),
      "-p",
      String(this.port),
      "-k",
      this.#root,
      "-c",
      "listen_addresses=127.0.0.1",
      "-c",
      "fsync=off",
    ];
    const child = spawn(program("postgres"), options, { cwd: this.#root, stdio: ["ignore", "ignore", "pipe"], ...this.#user });
    this.#child = child;
    let log = "";
    await new Promise<void>((resolve, reject) => {
      child.once("exit", (code) => reject(new Error(`postgres ended with ${code}:\n${log}`)));
      child.stderr.setEncoding("utf8").on("data", (chunk: string) => {
        log += chunk;
        if (log.includes("ready to accept connections")) resolve();
      });
    });
  }

  /** At once, as when the machine loses power. */
  async kill(): Promise<void> {
    await this.#end("SIGQUIT");
  }

  /** Its processes keep their connections and answer nothing until `thaw`. */
  freeze(): void {
    this.#signalAll("SIGSTOP");
  }

  thaw(): void {
    this.#signalAll("SIGCONT");
  }

  async close(): Promise<void> {
    await this.#end("SIGINT");
    rmSync(this.#root, { recursive: true });
  }

  #signalAll(signal: NodeJS.Signals): void {
    const { pid } = this.#child ?? {};
    if (pid === undefined) return;
    process.kill(pid, signal);
    for (const task of readdirSync(`/proc/${pid}/task`)) {
      const children = spawnSync("cat", [`/proc/${pid}/task/${task}/children`], { encoding: "utf8" }).stdout.trim();
      for (const child of children.split(" ").filter(Boolean)) {
        try {
          process.kill(Number(child), signal);
        } catch (error) {
          // A connection that was just closed takes its process with it.
          if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
        }
      }
    }
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    if (child === undefined || child.exitCode !== null) return;
    const ended = once(child, "exit");
    child.kill(signal);
    await ended;
  }
}

function idOf(flag: "-u" | "-g"): number {
  return Number(spawnSync("id", [flag, "postgres"], { encoding: "utf8" }).stdout);
}

function program(name: string): string {
  const newest = existsSync(versions) ? readdirSync(versions).sort((a, b) => Number(b) - Number(a))[0] : undefined;
  if (newest === undefined) throw new Error(`There is no PostgreSQL in ${versions}: install Debian's package postgresql.`);
  return join(versions, newest, "bin", name);
}
