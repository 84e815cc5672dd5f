import { watch } from "node:fs";
import { mkdir, mkdtemp, readdir, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { loadBundle } from "../../src/model/bundle.ts";
import { makeHeadProject } from "../helpers/head-project.ts";
import { startServal } from "../helpers/serval-process.ts";

const shipped = "efficientnet-lite0";

test("a run that is killed while it computes features continues from them, to the same bundle", async () => {
  const large = await makeHeadProject(128, ["checks", "rows"]);
  const state = await mkdtemp(join(tmpdir(), "serval-state-"));
  try {
    const params = ["prepare.width=128", "prepare.height=128", "train.cropSize=128", "train.threads=1", "data.source=patterns"];
    const train = ["train", "--set", ...params, `train.backbone=${shipped}`, "model.name=patterns"];
    const env = (dir: string): NodeJS.ProcessEnv => ({ SERVAL_STATE_DIR: dir });
    const started = startServal(large.cwd, train, env(state));
    const killedAt = await killAfter(started, join(state, "features"), 16 * 1280 * 4);
    expect(killedAt).toBeGreaterThan(0);
    await expect(stat(join(large.cwd, "artifacts/best"))).rejects.toMatchObject({ code: "ENOENT" });
    const digests: string[] = [];
    for (const dir of [state, join(large.cwd, "another-state")]) {
      const { code, stdout, stderr } = await startServal(large.cwd, train, env(dir)).ended;
      expect([code, stdout + stderr]).toEqual([0, expect.stringContaining("Trained in")]);
      digests.push((await loadBundle(join(large.cwd, "artifacts/best"))).digest);
    }
    expect(digests[0]).toBe(digests[1]);
  } finally {
    await large.remove();
    await rm(state, { recursive: true, force: true });
  }
});

/** Kills the process once its part of the features has this number of bytes. Resolves with how many it left. */
async function killAfter(started: ReturnType<typeof startServal>, dir: string, bytes: number): Promise<number> {
  await mkdir(dir, { recursive: true });
  const partSize = async (): Promise<number> => {
    const part = (await readdir(dir)).find((name) => name.endsWith(".part"));
    return part === undefined ? 0 : (await stat(join(dir, part))).size;
  };
  await new Promise<void>((resolve, reject) => {
    const watcher = watch(dir, () => {
      void (async (): Promise<void> => {
        if ((await partSize()) < bytes) return;
        watcher.close();
        resolve();
      })();
    });
    void started.ended.then(({ stderr }) => reject(new Error(`It ended before it could be killed: ${stderr}`)));
  });
  await started.stop("SIGKILL");
  return await partSize();
}
