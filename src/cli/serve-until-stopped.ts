import { once } from "node:events";
import { access } from "node:fs/promises";
import { join } from "node:path";
import { setFlagsFromString } from "node:v8";
import type { Service } from "../serve/service.ts";
import { serveModel, type ServeModelOptions } from "../workflows/service/serve-model.ts";
import type { Output } from "./output.ts";

/**
 * The heaps stay small: what a request leaves behind is little, and is tidied no faster when a hundred megabytes of it have piled
 * up. The young heap does not grow, and the old one is tidied when it is a fifth larger than what is alive in it.
 */
const frugalHeaps = ["--semi-space-growth-factor=1", "--heap-growing-percent=20"];

/** Serves until `signal` is aborted; then answers what came before and returns. */
export async function serveUntilStopped(options: ServeModelOptions, output: Output, signal: AbortSignal): Promise<void> {
  for (const flag of frugalHeaps) setFlagsFromString(flag);
  const service = await serveModel({ ...options, reporter: output });
  try {
    output.warn(await describeService(service, options.cwd));
    if (!signal.aborted) await once(signal, "abort");
  } finally {
    await service.close();
  }
}

/** Where the service is and how to try it. */
async function describeService({ url, model }: Service, cwd: string): Promise<string> {
  const picture = "test_image.jpg";
  const found = await access(join(cwd, picture)).then(
    () => true,
    () => false,
  );
  return [
    `Serving ${model.name} (version ${model.version}) at ${url}`,
    `  try it:  curl -F file=@${found ? picture : "image.jpg"} ${url}/predict`,
    `  pages:   ${url}/ and ${url}/docs`,
  ].join("\n");
}
