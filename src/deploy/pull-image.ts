import { ServalError } from "../errors/serval-error.ts";
import { whatWasSaid, type Engine } from "./engine.ts";

const limitMs = 15 * 60_000;

/** Gets an image from its registry. E_DEPLOY_REFUSED with the engine's own words where it cannot; nothing else has changed then. */
export async function pullImage(engine: Engine, version: string, signal?: AbortSignal): Promise<void> {
  const limit = AbortSignal.timeout(limitMs);
  try {
    await engine.docker(["pull", version], { signal: signal ? AbortSignal.any([signal, limit]) : limit });
  } catch (error) {
    signal?.throwIfAborted();
    const said = error instanceof ServalError ? whatWasSaid(error) : `no end within ${limitMs / 60_000} minutes`;
    throw new ServalError("E_DEPLOY_REFUSED", `${version} cannot be pulled: ${said}`, {
      cause: error,
      hint: /no space left/i.test(said)
        ? "Free some space (`docker image prune`, `docker system df`), then deploy again."
        : "Check its name, the registry and `docker login`, then deploy again.",
    });
  }
}
