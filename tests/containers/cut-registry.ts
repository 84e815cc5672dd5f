import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { connect, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { docker, eventually, run } from "./engine.ts";

export interface CutRegistry {
  /** An image there with its own layer, which the engine does not have. */
  readonly image: string;
  close(): Promise<void>;
}

const layerMegabytes = 40;

/**
 * A registry that goes down, and stays down, when it has given out `cutAfterBytes`: Debian's docker-registry on `port`, and in
 * front of it, on the port after it, a wire that is cut.
 */
export async function startCutRegistry(port: number, cutAfterBytes: number): Promise<CutRegistry> {
  const folder = await mkdtemp(join(tmpdir(), "serval-registry-"));
  const config = join(folder, "registry.json");
  const settings = { version: 0.1, storage: { filesystem: { rootdirectory: join(folder, "data") } }, http: { addr: `127.0.0.1:${port}` } };
  await writeFile(config, JSON.stringify(settings));
  const registry = spawn("docker-registry", ["serve", config], { stdio: "ignore" });
  const ended = once(registry, "exit");
  await eventually(
    async () => (await fetch(`http://127.0.0.1:${port}/v2/`)).status,
    (status) => status === 200,
  );
  const direct = `127.0.0.1:${port}/someone/app:big`;
  // Not by a build, whose cache would keep the layer on the engine.
  const layer = `head -c ${layerMegabytes}M /dev/urandom > big && tar -c big | docker import - ${direct} && rm big`;
  const imported = await run("sh", ["-c", layer], { cwd: folder });
  if (imported.code !== 0) throw new Error(`docker import ended with ${imported.code}:\n${imported.output}`);
  await docker("push", direct);
  await docker("rmi", direct);

  let left = cutAfterBytes;
  const sockets = new Set<Socket>();
  const wire = createServer((client) => {
    const server = connect(port, "127.0.0.1");
    for (const socket of [client, server]) {
      sockets.add(socket);
      socket.on("error", () => undefined).on("close", () => sockets.delete(socket));
    }
    client.pipe(server);
    server.on("data", (chunk) => {
      left -= chunk.length;
      if (left > 0) {
        client.write(chunk);
        return;
      }
      wire.close();
      for (const socket of sockets) socket.destroy();
    });
    server.on("end", () => client.end());
  });
  await once(wire.listen(port + 1, "127.0.0.1"), "listening");
  return {
    image: `127.0.0.1:${port + 1}/someone/app:big`,
    async close() {
      wire.close();
      for (const socket of sockets) socket.destroy();
      registry.kill();
      await ended;
      await run("docker", ["rmi", "--force", direct]);
      await rm(folder, { recursive: true });
    },
  };
}
