import { setTimeout as delay } from "node:timers/promises";
import { ServalError, toServalError } from "../../errors/serval-error.ts";
import { request } from "../../http/client.ts";
import { inspectContainer, listContainers, setAdmitted, type ServiceContainer } from "./compose-containers.ts";
import { readComposeProject, type ComposeProject } from "./compose-project.ts";
import { describeRemains, surveyContainers, type Survey } from "./compose-survey.ts";
import { parseCounters, type Counters } from "../counters.ts";
import { createEngine, type Engine, type EngineOptions } from "../engine.ts";
import { pullImage } from "../pull-image.ts";
import { imageIdOf, originOf, tagsOf } from "./engine-images.ts";
import { giveNameBack, lendName } from "./lent-name.ts";
import { readProxied } from "./proxy-status.ts";
import { waitUntilReady } from "../checks/readiness.ts";
import { createMarks, longestModel, type Marks } from "./release-marks.ts";
import type { Observation, PreviousRelease, Release, Standing, Target } from "../target.ts";

export interface ComposeTargetOptions extends EngineOptions {
  /** Folder of docker-compose.yml. */
  readonly dir: string;
  /** How long a version may take to become ready. */
  readonly waitMs: number;
  /** Ends what may be given up half way: a pull, and the wait for a version that starts. */
  readonly signal?: AbortSignal | undefined;
}

const servicePort = 8000;
const statisticsPort = 8404;
const pollMs = 200;
/** The proxy asks the engine's DNS twice a second and each container once a second. */
const proxyWaitMs = 15_000;
const mostStarts = 3;
const mostMetricsBytes = 16 * 2 ** 20;

/**
 * One host with Docker Compose: the new container runs beside the old one and answers to the service's name only once it
 * passed its tests; the proxy finds it by that name. Which version passed last is a tag in the engine (release-marks.ts),
 * which containers get requests is their name in the network, and nothing is kept anywhere else.
 */
export async function openComposeTarget(options: ComposeTargetOptions): Promise<Target> {
  const engine = createEngine(options);
  if ((await engine.ask(["version"])) === null) {
    throw new ServalError("E_DEPLOY_NOT_READY", "The container engine does not answer, or this user may not use it.", {
      hint: "Start Docker Engine, or join the group docker (docs/deployment.md).",
    });
  }
  const project = await readComposeProject(engine, options.dir, options.env);
  return new ComposeTarget(engine, project, options);
}

class ComposeTarget implements Target {
  readonly name = "compose";
  readonly lock: string;
  readonly #engine: Engine;
  readonly #project: ComposeProject;
  readonly #marks: Marks;
  readonly #options: ComposeTargetOptions;
  /** The container that served when the deploy began, and its release; more of them where the service was scaled. */
  #before: { readonly id: string; readonly siblings: readonly string[]; readonly release: Release } | null = null;
  #candidate: { readonly id: string; readonly release: Release } | null = null;

  constructor(engine: Engine, project: ComposeProject, options: ComposeTargetOptions) {
    this.#engine = engine;
    this.#project = project;
    this.#options = options;
    this.#marks = createMarks(project.project);
    this.lock = project.project;
  }

  async survey(): Promise<Standing> {
    const survey = await this.#survey();
    return await this.#standing(survey.good, survey, describeRemains(survey));
  }

  async recover(): Promise<Standing> {
    const survey = await this.#survey();
    const repaired = describeRemains(survey);
    await giveNameBack(this.#engine, this.#marks, this.#project.image);
    for (const { id } of survey.unfinished) await this.#remove(id);
    const good = await this.#keepServing(survey, repaired);
    for (const container of [...survey.unproven, ...survey.replaced].filter(({ id }) => id !== good?.id)) {
      await this.#drain(container.id);
      await this.#finishReplaced(container, good, survey);
      await this.#forget(container.imageId, good?.imageId);
    }
    // The engine may still have been stopping it for the deploy that was killed.
    if (good?.running && survey.unproven.length > 0) await this.#startAgain(good.id);
    if (good?.id === survey.good?.id) await this.#startSiblings(survey.siblings.filter(({ running }) => !running).map(({ id }) => id));
    if (good) {
      await this.#noteModel(good);
      await this.#engine.docker(["tag", good.imageId, this.#marks.current]);
    }
    const standing = await this.#standing(good, survey, repaired);
    const siblings = survey.siblings.map(({ id }) => id);
    this.#before = good && standing.serving ? { id: good.id, siblings, release: standing.serving } : null;
    return standing;
  }

  async fetch(version: string, { pull, model }: { pull: boolean; model?: string | undefined }): Promise<Release> {
    if (model !== undefined && Buffer.byteLength(model) > longestModel) {
      throw new ServalError("E_USAGE", `The address of the model is longer than ${longestModel} bytes: ${model}`);
    }
    if (pull) await pullImage(this.#engine, version, this.#options.signal);
    const imageId = await imageIdOf(this.#engine, version);
    if (imageId === null) {
      throw new ServalError("E_DEPLOY_NOT_READY", `There is no image ${version} on this machine.`, {
        hint: pull ? "Check its name." : "Build it, or leave --no-pull out to get it from its registry.",
      });
    }
    return { version, imageId, model: model ?? this.#project.model };
  }

  async start(release: Release): Promise<{ readonly url: string }> {
    const id = await this.#create(release);
    this.#candidate = { id, release };
    await setAdmitted(this.#engine, await this.#inspect(id), this.#project.service, false);
    await this.#engine.docker(["start", id]);
    return { url: await this.#addressOf(id) };
  }

  async addressBefore(): Promise<string | null> {
    const before = this.#before && (await inspectContainer(this.#engine, this.#before.id, this.#project.service));
    return before?.running ? await this.#addressOf(before.id) : null;
  }

  async brokenBy(): Promise<string | null> {
    if (this.#candidate === null) return "it was never started";
    const container = await inspectContainer(this.#engine, this.#candidate.id, this.#project.service);
    if (container === undefined) return "its container is gone";
    if (container.restarts > 0) return `its container ended and was started again (${container.restarts} times)`;
    return container.running ? null : `its container is ${container.state}`;
  }

  async admit(): Promise<void> {
    const { id } = this.#started();
    await setAdmitted(this.#engine, await this.#inspect(id), this.#project.service, true);
    await this.#waitUntilProxied(id);
  }

  async observe(): Promise<Observation> {
    const broken = await this.brokenBy();
    const counters = async (id: string | undefined): Promise<Counters | null> => {
      const container = id === undefined ? undefined : await inspectContainer(this.#engine, id, this.#project.service);
      return container?.running ? await this.#countersOf(container) : null;
    };
    return { broken, candidate: broken === null ? await counters(this.#candidate?.id) : null, before: await counters(this.#before?.id) };
  }

  async retire(): Promise<void> {
    if (this.#before) await this.#engine.docker(["stop", this.#before.id, ...this.#before.siblings]);
  }

  async commit(): Promise<void> {
    const { id, release } = this.#started();
    const before = this.#before?.release;
    const { docker } = this.#engine;
    // The notes first, and the tag that says which version is good after them: it is what `recover` goes by.
    const same = before !== undefined && before.imageId === release.imageId && before.model === release.model;
    if (!same) {
      await this.#forget(release.imageId);
      if (before) {
        await docker(["tag", release.imageId, this.#marks.note("previous", before.version)]);
        await docker(["tag", release.imageId, this.#marks.note("previous-model", before.model)]);
        const origin = await originOf(this.#engine, before.imageId);
        if (origin) await docker(["tag", release.imageId, this.#marks.note("origin", origin)]);
      }
    }
    // With the same image, this note is what says which container is good.
    await this.#noteModel(release);
    await docker(["tag", release.imageId, this.#marks.note("current", release.version)]);
    await docker(["tag", release.imageId, this.#marks.current]);
    if (before && !same) await docker(["tag", before.imageId, this.#marks.previous]);
    // Also the name that the compose file uses by itself, so that `docker compose up` by hand stays with this version.
    await docker(["tag", release.imageId, this.#project.image]);
    for (const old of this.#before ? [this.#before.id, ...this.#before.siblings] : []) await this.#remove(old);
    if (before && before.imageId !== release.imageId) await this.#forget(before.imageId);
    this.#before = { id, siblings: [], release };
    this.#candidate = null;
  }

  async takeBack(): Promise<Release | null> {
    const [candidate, before] = [this.#candidate, this.#before];
    try {
      if (before) await this.#startAgain(before.id);
      await this.#startSiblings(before?.siblings ?? []);
    } finally {
      // Also where that one does not start any more: a version that failed is not left to serve.
      if (candidate) {
        await this.#drain(candidate.id);
        await this.#forget(candidate.release.imageId, before?.release.imageId);
        this.#candidate = null;
      }
    }
    return before?.release ?? null;
  }

  async publicAddress(): Promise<string> {
    const proxy = await this.#proxy();
    const address = proxy?.published[servicePort];
    if (address) return `http://${address}`;
    throw new ServalError("E_DEPLOY_REFUSED", `The proxy publishes no port ${servicePort} on this machine.`);
  }

  async log(): Promise<string> {
    if (this.#candidate === null) return "";
    return await this.#engine.docker(["logs", "--tail", "20", this.#candidate.id], { both: true }).catch(() => "");
  }

  async #survey(): Promise<Survey> {
    const current = await imageIdOf(this.#engine, this.#marks.current);
    const model = current === null ? undefined : this.#marks.read("current-model", await tagsOf(this.#engine, current));
    return surveyContainers(await listContainers(this.#engine, this.#project), current, model);
  }

  /** Sees to it that the good container serves before any other goes. Returns it as it is then, or what is kept in its place. */
  async #keepServing({ good, unproven }: Survey, repaired: string[]): Promise<ServiceContainer | null> {
    if (good === null || repaired.length === 0) return good;
    try {
      await this.#startAgain(good.id);
      return { ...good, running: true };
    } catch (error) {
      // What got requests until now is better than nothing; it is judged by the next deploy.
      const other = unproven.find(({ running }) => running);
      if (other === undefined) {
        repaired.push(`It does not start any more: ${toServalError(error).message}`);
        return { ...good, running: false };
      }
      repaired.push(`The previous version does not start any more (${toServalError(error).message}), so the one that runs is kept.`);
      await this.#remove(good.id);
      return other;
    }
  }

  async #standing(good: ServiceContainer | null, { unfinished, unproven }: Survey, repaired: readonly string[]): Promise<Standing> {
    const tags = good === null ? [] : await tagsOf(this.#engine, good.imageId);
    const serving = good && {
      version: this.#marks.read("current", tags) ?? tags.find((tag) => !tag.startsWith("serval-deploy/")) ?? good.imageId,
      imageId: good.imageId,
      model: good.model,
    };
    const undone = unfinished.length + unproven.length > 0;
    return { serving, previous: await this.#previous(tags), repaired, undone };
  }

  /** What the notes on the image that serves say about the previous one. */
  async #previous(tags: readonly string[]): Promise<PreviousRelease | null> {
    const version = this.#marks.read("previous", tags);
    if (version === undefined) return null;
    const imageId = await imageIdOf(this.#engine, this.#marks.previous);
    const origin = this.#marks.read("origin", tags) ?? null;
    return { version, imageId: imageId ?? "", model: this.#marks.read("previous-model", tags) ?? "", there: imageId !== null, origin };
  }

  /** Has compose make a container of the release, as its file says, and does not start it. */
  async #create(release: Release): Promise<string> {
    const { image, service, compose } = this.#project;
    const before = await listContainers(this.#engine, this.#project);
    // Under the name that the file has, so that compose takes the container for its own, with nothing to change, later on.
    await lendName(this.#engine, this.#marks, image, release.imageId, async () => {
      const scale = `${service}=${before.length + 1}`;
      const args = ["up", "--no-start", "--no-build", "--no-deps", "--no-recreate", "--scale", scale, service];
      await compose(args, { env: { SERVAL_MODEL: release.model } });
    });
    const made = (await listContainers(this.#engine, this.#project)).filter(({ id }) => before.every((old) => old.id !== id));
    const right = made.filter(({ imageId }) => imageId === release.imageId);
    for (const { id } of made) if (id !== right[0]?.id) await this.#remove(id);
    if (right[0]) return right[0].id;
    throw new ServalError("E_DEPLOY_REFUSED", `Compose made no container of ${release.version}.`);
  }

  /** Sees to it that a container that passed its checks serves; one that is being stopped is started when it has ended. */
  async #startAgain(id: string): Promise<void> {
    const state = async (): Promise<ServiceContainer | undefined> => await inspectContainer(this.#engine, id, this.#project.service);
    for (let tried = 1; ; tried++) {
      if (!(await this.#inspect(id)).running) await this.#engine.docker(["start", id]);
      let ended = false;
      const brokenBy = async (): Promise<string | null> => {
        const now = await state();
        ended = now?.running !== true;
        return ended ? `its container is ${now?.state ?? "gone"}` : null;
      };
      try {
        await waitUntilReady(await this.#addressOf(id), { waitMs: this.#options.waitMs, brokenBy });
        await this.#waitUntilProxied(id);
        return;
      } catch (error) {
        ended ||= (await state())?.running === false;
        if (!ended || tried === mostStarts) throw error;
      }
    }
  }

  /** One is enough to serve; the proxy sends the others requests as soon as they answer. */
  async #startSiblings(ids: readonly string[]): Promise<void> {
    for (const id of ids) await this.#engine.ask(["start", id]);
  }

  /** Stops a container after it answered what it has, and removes it. One that no request reaches is only removed. */
  async #drain(id: string): Promise<void> {
    if ((await this.#inspect(id)).admitted) await this.#engine.docker(["stop", id]);
    await this.#remove(id);
  }

  async #remove(id: string): Promise<void> {
    await this.#engine.docker(["rm", "--force", "--volumes", id]);
  }

  /** A deploy was killed when its version was good already: what it replaced is what an undo goes back to. */
  async #finishReplaced(container: ServiceContainer, good: ServiceContainer | null, { replaced }: Survey): Promise<void> {
    if (replaced.includes(container) && good && container.imageId !== good.imageId) {
      await this.#engine.docker(["tag", container.imageId, this.#marks.previous]);
    }
  }

  /** Notes the model that passed with an image, in place of one that was noted before. */
  async #noteModel({ imageId, model }: Pick<Release, "imageId" | "model">): Promise<void> {
    const noted = this.#marks.read("current-model", await tagsOf(this.#engine, imageId));
    if (noted === model) return;
    if (noted !== undefined) await this.#engine.docker(["rmi", "--force", this.#marks.note("current-model", noted)]);
    await this.#engine.docker(["tag", imageId, this.#marks.note("current-model", model)]);
  }

  /** Removes the notes from an image that does not serve, unless it is the image that does. */
  async #forget(imageId: string, unless?: string): Promise<void> {
    if (imageId === unless) return;
    for (const tag of this.#marks.notesIn(await tagsOf(this.#engine, imageId))) await this.#engine.docker(["rmi", "--force", tag]);
  }

  async #waitUntilProxied(id: string): Promise<void> {
    const proxy = await this.#proxy();
    if (proxy === undefined) {
      await this.#project.compose(["up", "--detach", "--no-build", "--no-deps", this.#project.proxy]);
    }
    const deadline = performance.now() + proxyWaitMs;
    for (;;) {
      const ips = Object.values((await this.#inspect(id)).networks);
      const address = (await this.#proxy())?.published[statisticsPort];
      const asked = address === undefined ? [] : await readProxied(`http://${address}`).catch(() => []);
      if (asked.some((to) => ips.some((ip) => to === `${ip}:${servicePort}`))) return;
      if (performance.now() > deadline) {
        throw new ServalError(
          "E_DEPLOY_REFUSED",
          `The proxy sends no requests to the new container within ${proxyWaitMs / 1000} s: it sends them to ${asked.join(", ") || "no container"}.`,
          {
            hint: "Look at its log: `docker compose logs proxy`.",
          },
        );
      }
      await delay(pollMs);
    }
  }

  async #proxy(): Promise<ServiceContainer | undefined> {
    const { project, proxy } = this.#project;
    return (await listContainers(this.#engine, { project, service: proxy })).find(({ running }) => running);
  }

  async #addressOf(id: string): Promise<string> {
    const container = await this.#inspect(id);
    const address = container.published[servicePort];
    if (address) return `http://${address}`;
    if (!container.running) throw new ServalError("E_DEPLOY_REFUSED", `The container is ${container.state}.`);
    throw new ServalError("E_DEPLOY_REFUSED", `The container publishes no port ${servicePort} on this machine.`, {
      hint: `Give the service "127.0.0.1::${servicePort}" under ports in docker-compose.yml.`,
    });
  }

  async #countersOf(container: ServiceContainer): Promise<Counters | null> {
    const address = container.published[servicePort];
    try {
      const bounds = { answerMs: 5000, totalMs: 5000, maxBytes: mostMetricsBytes };
      return await request(`http://${address}/metrics`, {}, bounds, async ({ ok, text }) => (ok ? parseCounters(await text()) : null));
    } catch {
      return null;
    }
  }

  async #inspect(id: string): Promise<ServiceContainer> {
    const container = await inspectContainer(this.#engine, id, this.#project.service);
    if (container) return container;
    throw new ServalError("E_DEPLOY_REFUSED", `The container ${id.slice(0, 12)} is gone: somebody removed it.`);
  }

  #started(): { readonly id: string; readonly release: Release } {
    if (this.#candidate) return this.#candidate;
    throw new ServalError("E_DEPLOY_REFUSED", "The new version was not started.");
  }
}
