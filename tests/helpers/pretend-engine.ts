import { once } from "node:events";
import { chmod, mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";

/** A replacement for the container engine: the words after `docker`, and SERVAL_MODEL of the caller -> what it prints. Throws to refuse. */
export type Answer = (words: readonly string[], model: string) => string | Promise<string>;

export interface PretendEngine {
  /** An environment in which `docker` is the pretended one. */
  readonly env: Readonly<Record<string, string | undefined>>;
  close(): Promise<void>;
}

/** A program `docker` that does nothing by itself: it asks the test, which knows what an engine would say. */
export async function startPretendEngine(answer: Answer): Promise<PretendEngine> {
  const server = createServer((request, response) => {
    void (async () => {
      const chunks: Buffer[] = [];
      for await (const chunk of request) chunks.push(chunk as Buffer);
      const asked = new URLSearchParams(Buffer.concat(chunks).toString());
      try {
        response.end(await answer(asked.getAll("word"), asked.get("model") ?? ""));
      } catch (error) {
        response.writeHead(400).end((error as Error).message);
      }
    })();
  });
  await once(server.listen(0, "127.0.0.1"), "listening");
  const folder = await mkdtemp(join(tmpdir(), "serval-engine-"));
  const program = join(folder, "docker");
  await writeFile(
    program,
    `#!/bin/sh
words=$#
for word; do set -- "$@" --data-urlencode "word=$word"; done
shift $words
exec curl --silent --fail-with-body --data-urlencode "model=$SERVAL_MODEL" "$@" http://127.0.0.1:${(server.address() as AddressInfo).port}/
`,
  );
  await chmod(program, 0o755);
  return {
    env: { ...process.env, PATH: [folder, process.env["PATH"]].join(delimiter), NO_PROXY: "127.0.0.1" },
    async close() {
      server.close().closeAllConnections();
      await rm(folder, { recursive: true });
    },
  };
}
