import { once } from "node:events";
import { rm } from "node:fs/promises";
import { connect, createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ServalError } from "../errors/serval-error.ts";

/**
 * Runs `work` while no other deploy of that name runs on this machine, whichever user or checkout it comes from. The lock
 * is a socket that somebody listens on, so the system gives it back when its process ends, however it ends. Throws
 * E_DEPLOY_NOT_READY while another one has it.
 */
export async function withDeployLock<T>(name: string, work: () => Promise<T>, platform: string = process.platform): Promise<T> {
  const server = await listen(addressOf(name, platform), name);
  try {
    return await work();
  } finally {
    server.close();
  }
}

/** Linux and Windows have names for sockets that are not files, and that end with their listener. */
function addressOf(name: string, platform: string): string {
  if (platform === "linux") return `\0serval-deploy-${name}`;
  if (platform === "win32") return `\\\\.\\pipe\\serval-deploy-${name}`;
  return join(tmpdir(), `serval-deploy-${name}.socket`);
}

async function listen(address: string, name: string): Promise<Server> {
  for (let tried = 0; ; tried++) {
    const server = createServer((socket) => socket.destroy());
    try {
      await once(server.listen(address), "listening");
      return server.unref();
    } catch (error) {
      const taken = (error as NodeJS.ErrnoException).code === "EADDRINUSE";
      // Where it is a file, a killed process may have left one: nothing listens on it.
      if (taken && tried === 0 && address.endsWith(".socket") && !(await answers(address))) {
        await rm(address, { force: true });
        continue;
      }
      if (!taken) throw error;
      throw new ServalError("E_DEPLOY_NOT_READY", `Another deploy of "${name}" is running on this machine.`, {
        cause: error,
        hint: "Wait until it has ended, then run the command again.",
      });
    }
  }
}

async function answers(address: string): Promise<boolean> {
  const socket = connect(address);
  return await once(socket, "connect")
    .then(
      () => true,
      () => false,
    )
    .finally(() => socket.destroy());
}
