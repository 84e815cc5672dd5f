import { readFile } from "node:fs/promises";
import { join } from "node:path";
import sharp from "sharp";
import { afterAll, beforeAll, expect, test } from "vitest";
import { buildServiceImage, docker, eventually, report, root, run, serviceImage } from "./engine.ts";

const side = 8000;
let container: string;
let url: string;
beforeAll(async () => {
  await buildServiceImage();
  // Half of the memory that deployment/docker-compose.yml gives it, and none to swap to.
  const limits = [
    "--memory",
    "512m",
    "--memory-swap",
    "512m",
    "--pids-limit",
    "512",
    "--read-only",
    "--tmpfs",
    "/tmp",
    "--cap-drop",
    "ALL",
  ];
  const options = ["--detach", "--publish", "127.0.0.1:8040:8000", "--restart", "unless-stopped", ...limits, "--volume", "/app/logs"];
  container = await docker("run", ...options, serviceImage);
  url = "http://127.0.0.1:8040";
});
afterAll(async () => {
  await run("docker", ["rm", "--force", "--volumes", container]);
});

async function predict(type: string, body: Buffer): Promise<number> {
  const answer = await fetch(`${url}/predict`, { method: "POST", headers: { "content-type": type }, body });
  await answer.arrayBuffer();
  return answer.status;
}

/** How many of each: a status, or "no answer" where the connection broke. */
async function inParallel(count: number, ask: () => Promise<number>): Promise<Readonly<Record<string, number>>> {
  const tally: Record<string, number> = {};
  for (const seen of await Promise.all(Array.from({ length: count }, async () => await ask().catch(() => "no answer")))) {
    tally[seen] = (tally[seen] ?? 0) + 1;
  }
  return tally;
}

const flat = sharp({ create: { width: side, height: side, channels: 4, background: { r: 200, g: 30, b: 90, alpha: 0.5 } } });
test.each([
  ["progressive JPEG", "image/jpeg", flat.clone().flatten().jpeg({ progressive: true, chromaSubsampling: "4:4:4", quality: 50 })],
  ["interlaced 16-bit PNG", "image/png", flat.clone().toColourspace("rgb16").png({ progressive: true, compressionLevel: 6 })],
])("after sixteen at a time of the largest %s the service answers a good image, in 512 MB", async (name, type, picture) => {
  const good = await readFile(join(root, "test_image.jpg"));
  const answersGood = async (): Promise<number> =>
    await eventually(
      async () => await predict("image/jpeg", good),
      (status) => status === 200,
    );
  await answersGood();
  const body = await picture.toBuffer();
  const tally = await inParallel(16, async () => await predict(type, body));
  const asked = performance.now();
  expect(await answersGood()).toBe(200);
  const seconds = ((performance.now() - asked) / 1000).toFixed(1);
  const restarts = await docker("inspect", "--format", "{{.RestartCount}}", container);
  // Before there were limits on what decoding costs, both pictures had the kernel end the service.
  expect(restarts).toBe("0");
  report(`${name} of ${body.length} bytes: ${JSON.stringify(tally)}; a good image ${seconds} s later; ${restarts} restarts so far`);
});
