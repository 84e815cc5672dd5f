import { setTimeout as delay } from "node:timers/promises";
import { ServalError } from "../../errors/serval-error.ts";
import { createEngine, type Engine, type EngineOptions } from "../engine.ts";
import { pullImage } from "../pull-image.ts";
import { countersOf, failureOf, listReplicas, readService, variableOf, type SwarmService } from "./swarm-service.ts";
import type { Observation, PreviousRelease, Release, Standing, Target } from "../target.ts";

export interface StackTargetOptions extends EngineOptions {
  /** How long a version may take to become ready, and each replica to be replaced. */
  readonly waitMs: number;
  /** Ends what may be given up half way. */
  readonly signal?: AbortSignal | undefined;
}

const servicePort = 8000;
const pollMs = 500;
/** How long the Swarm may take to begin with what it was told. */
const beginMs = 30_000;
/** What the Swarm itself adds to the replacement of a replica: its health check, and the end of the old one. */
const replaceMs = 60_000;

/**
 * Notes on the service in the Swarm, so that any manager reads them. They change in the same step as the image, and a rollback
 * takes them back with it; `proven` alone is set later, when the version passed its checks.
 */
const notes = {
  version: "serval.version",
  proven: "serval.proven",
  previousVersion: "serval.previous-version",
  previousImage: "serval.previous-image",
  previousModel: "serval.previous-model",
} as const;

/**
 * A stack on Docker Swarm (deployment/stack.yaml): a new version is tried in its own container in the replicas' network,
 * then the Swarm replaces the replicas one by one, and takes them back by itself where one fails.
 */
export async function openStackTarget(options: StackTargetOptions): Promise<Target> {
  const engine = createEngine(options);
  if ((await engine.ask(["info", "--format", "{{.Swarm.ControlAvailable}}"])) !== "true") {
    throw new ServalError("E_DEPLOY_NOT_READY", "The container engine is not a manager of a Swarm, or does not answer.", {
      hint: "Run the command on a manager; `docker swarm init` makes one (docs/deployment.md).",
    });
  }
  const wanted = options.env["SERVAL_STACK"];
  return new StackTarget(engine, await findByRole(engine, "service", wanted), await findByRole(engine, "proxy", wanted), options);
}

async function findByRole(engine: Engine, role: string, stack: string | undefined): Promise<string> {
  const filters = [`label=serval.role=${role}`, ...(stack ? [`label=com.docker.stack.namespace=${stack}`] : [])];
  const text = await engine.docker(["service", "ls", "--format", "{{.Name}}", ...filters.flatMap((filter) => ["--filter", filter])]);
  const names = text.split("\n").filter(Boolean);
  if (names[0] !== undefined && names.length === 1) return names[0];
  const got = names.length === 0 ? "there is none" : `there are ${names.join(", ")}`;
  throw new ServalError("E_DEPLOY_NOT_READY", `Expected one service in the Swarm with the label serval.role=${role}; ${got}.`, {
    hint: names.length === 0 ? "Bring it up: `docker stack deploy --compose-file stack.yaml serval`." : "Name its stack in SERVAL_STACK.",
  });
}

class StackTarget implements Target {
  readonly name = "stack";
  readonly lock: string;
  readonly #engine: Engine;
  readonly #service: string;
  readonly #proxy: string;
  readonly #options: StackTargetOptions;
  #before: Release | null = null;
  #candidate: { readonly release: Release; readonly image: string; readonly trial: string } | null = null;
  /** The Swarm was told to replace the replicas. */
  #admitted = false;
  /** Replicas of the time before that: one of the same image that failed then says nothing about the new version. */
  #earlier: readonly string[] = [];

  constructor(engine: Engine, service: string, proxy: string, options: StackTargetOptions) {
    this.#engine = engine;
    this.#service = service;
    this.#proxy = proxy;
    this.#options = options;
    this.lock = service;
  }

  async survey(): Promise<Standing> {
    const service = await this.#read();
    return await this.#standing(service, await this.#describeRemains(service));
  }

  async recover(): Promise<Standing> {
    const repaired = await this.#describeRemains(await this.#read());
    for (const id of await this.#trials()) await this.#engine.docker(["rm", "--force", "--volumes", id]);
    const found = await this.#read();
    if (isUnproven(found)) await this.#rollBack();
    else if (found.update) await this.#waitForUpdate();
    const standing = await this.#standing(await this.#read(), repaired);
    this.#before = standing.serving;
    return standing;
  }

  async fetch(version: string, { pull, model }: { pull: boolean; model?: string | undefined }): Promise<Release> {
    if (pull) await pullImage(this.#engine, version, this.#options.signal);
    const imageId = await this.#imageId(version);
    if (imageId === null) {
      throw new ServalError("E_DEPLOY_NOT_READY", `There is no image ${version} on this machine.`, {
        hint: pull ? "Check its name." : "Build it, or leave --no-pull out to get it from its registry.",
      });
    }
    return { version, imageId, model: model ?? variableOf(await this.#read(), "SERVAL_MODEL") };
  }

  async start(release: Release): Promise<{ readonly url: string }> {
    const { environment, networks } = await this.#read();
    const image = await this.#referenceTo(release.imageId);
    // Secrets are only there for replicas. Only this machine reaches the trial, so it needs no keys; it keeps what it predicts to itself.
    const without = ["SERVAL_API_KEYS_FILE=", "SERVAL_PREDICTIONS_URL=", "SERVAL_PREDICTIONS_PASSWORD_FILE="];
    const own = [`SERVAL_MODEL=${release.model}`, ...without, "SERVAL_RATE_LIMIT=0"];
    const bare = ["--read-only", "--tmpfs", "/tmp", "--tmpfs", "/app/logs:mode=1777", "--cap-drop", "ALL"];
    const place = ["--label", `serval.trial=${this.#service}`, "--publish", `127.0.0.1::${servicePort}`];
    const network = networks.slice(0, 1).flatMap((id) => ["--network", id]);
    const variables = [...environment, ...own].flatMap((line) => ["--env", line]);
    const trial = await this.#engine.docker(["run", "--detach", ...place, ...network, ...bare, ...variables, image]);
    this.#candidate = { release, image, trial };
    const address = await this.#engine.docker(["port", trial, `${servicePort}/tcp`]).catch(() => "");
    if (address === "") throw new ServalError("E_DEPLOY_REFUSED", `Its container ends at once: ${await this.brokenBy()}.`);
    return { url: `http://${address.split("\n")[0]}` };
  }

  async addressBefore(): Promise<string | null> {
    return this.#before && (await this.publicAddress());
  }

  async brokenBy(): Promise<string | null> {
    if (this.#candidate === null) return "it was never started";
    if (this.#admitted) return (await this.#failureOf(this.#candidate.image))?.why ?? null;
    const format = "{{.State.Running}} {{.State.Status}} {{.State.ExitCode}}";
    const state = await this.#engine.ask(["container", "inspect", "--format", format, this.#candidate.trial]);
    if (state === null) return "its container is gone";
    const [running, status, code] = state.split(" ");
    return running === "true" ? null : `its container ${status} with ${code}`;
  }

  async admit(): Promise<void> {
    if (this.#candidate === null) throw new ServalError("E_DEPLOY_REFUSED", "The new version was not started.");
    const { release, image, trial } = this.#candidate;
    await this.#engine.docker(["rm", "--force", "--volumes", trial]);
    const labels = {
      [notes.version]: release.version,
      [notes.proven]: "no",
      [notes.previousVersion]: this.#before?.version ?? "",
      [notes.previousImage]: this.#before ? (await this.#read()).image : "",
      [notes.previousModel]: this.#before?.model ?? "",
    };
    this.#earlier = await listReplicas(this.#engine, this.#service);
    this.#admitted = true;
    const noted = Object.entries(labels).flatMap(([name, value]) => ["--label-add", `${name}=${value}`]);
    const change = ["--force", "--image", image, "--env-add", `SERVAL_MODEL=${release.model}`, ...noted];
    await this.#engine.docker(["service", "update", "--detach", "--no-resolve-image", "--with-registry-auth", ...change, this.#service]);
    const update = await this.#waitForUpdate(this.#options.signal);
    if (update?.state !== "completed" || !isUnproven(await this.#read())) {
      const failure = await this.#failureOf(image);
      throw new ServalError(
        "E_DEPLOY_REFUSED",
        `The Swarm did not replace the replicas (${update?.state}): ${failure?.why ?? update?.message}.`,
      );
    }
  }

  async observe(): Promise<Observation> {
    const counters = await countersOf(this.#engine, this.#service);
    // Before the update all replicas are of the previous version, and after it all are new.
    if (!this.#admitted) return { broken: null, candidate: null, before: counters };
    return { broken: await this.brokenBy(), candidate: counters, before: null };
  }

  async retire(): Promise<void> {
    // The Swarm has ended each replica of the previous version as soon as its successor was healthy.
  }

  async commit(): Promise<void> {
    await this.#engine.docker(["service", "update", "--detach", "--no-resolve-image", "--label-add", `${notes.proven}=yes`, this.#service]);
    await this.#forgetReleases();
  }

  async takeBack(): Promise<Release | null> {
    if (this.#candidate && !this.#admitted) await this.#engine.ask(["rm", "--force", "--volumes", this.#candidate.trial]);
    if (this.#admitted) {
      if (isUnproven(await this.#read())) await this.#rollBack();
      else await this.#waitForUpdate();
    }
    this.#candidate = null;
    this.#admitted = false;
    return this.#before;
  }

  async publicAddress(): Promise<string> {
    const { publishedPort } = await readService(this.#engine, this.#proxy);
    if (publishedPort !== null) return `http://127.0.0.1:${publishedPort}`;
    throw new ServalError("E_DEPLOY_REFUSED", `The service ${this.#proxy} publishes no port.`);
  }

  async log(): Promise<string> {
    if (this.#candidate === null) return "";
    if (!this.#admitted) return (await this.#engine.ask(["logs", "--tail", "20", this.#candidate.trial])) ?? "";
    const failure = await this.#failureOf(this.#candidate.image);
    return failure === null ? "" : ((await this.#engine.ask(["service", "logs", "--raw", "--tail", "20", failure.task])) ?? "");
  }

  async #failureOf(image: string): ReturnType<typeof failureOf> {
    return await failureOf(this.#engine, this.#service, image, this.#earlier);
  }

  async #read(): Promise<SwarmService> {
    return await readService(this.#engine, this.#service);
  }

  async #trials(): Promise<readonly string[]> {
    const text = await this.#engine.docker(["ps", "--all", "--quiet", "--filter", `label=serval.trial=${this.#service}`]);
    return text.split("\n").filter(Boolean);
  }

  async #describeRemains(service: SwarmService): Promise<string[]> {
    const lines: string[] = [];
    if ((await this.#trials()).length > 0) lines.push("A deploy was cut short before the new version got a request: its trial is removed.");
    if (isUnproven(service))
      lines.push("A deploy was cut short before the new version passed its checks: the previous version serves again.");
    return lines;
  }

  async #standing(service: SwarmService, repaired: readonly string[]): Promise<Standing> {
    const { labels, image } = service;
    const serving = {
      version: labels[notes.version] || image,
      imageId: (await this.#imageId(image)) ?? image,
      model: variableOf(service, "SERVAL_MODEL"),
    };
    return { serving, previous: await this.#previous(labels), repaired, undone: repaired.length > 0 };
  }

  async #previous(labels: SwarmService["labels"]): Promise<PreviousRelease | null> {
    const [version, image] = [labels[notes.previousVersion], labels[notes.previousImage]];
    if (!version || !image) return null;
    const imageId = await this.#imageId(image);
    const origin = image.includes("@sha256:") ? image : null;
    return { version, imageId: imageId ?? "", model: labels[notes.previousModel] ?? "", there: imageId !== null, origin };
  }

  /** A name that keeps pointing to this image: that of its registry, or a tag of ours for an image that was built here. */
  async #referenceTo(imageId: string): Promise<string> {
    const text = await this.#engine.docker(["image", "inspect", "--format", "{{json .RepoDigests}}", imageId]);
    const [digest] = (JSON.parse(text) as readonly string[] | null) ?? [];
    if (digest !== undefined) return digest;
    const own = `serval-release/${this.#service.toLowerCase()}:${imageId.slice(7, 19)}`;
    await this.#engine.docker(["tag", imageId, own]);
    return own;
  }

  /** Removes our own tags from images that neither serve nor served before. */
  async #forgetReleases(): Promise<void> {
    const { image, labels } = await this.#read();
    const repository = `serval-release/${this.#service.toLowerCase()}`;
    const tags = (await this.#engine.docker(["image", "ls", "--format", "{{.Repository}}:{{.Tag}}", repository])).split("\n");
    for (const tag of tags.filter((name) => name !== "" && name !== image && name !== labels[notes.previousImage])) {
      await this.#engine.ask(["rmi", tag]);
    }
  }

  async #rollBack(): Promise<void> {
    await this.#engine.docker(["service", "rollback", "--detach", this.#service]);
    const update = await this.#waitForUpdate();
    if (update?.state === "rollback_completed") return;
    throw new ServalError("E_DEPLOY_DOWN", `The Swarm did not bring the previous version back (${update?.state}): ${update?.message}.`, {
      hint: `Look at \`docker service ps ${this.#service}\`.`,
    });
  }

  /** Waits until no update is under way, and returns what became of the last one. */
  async #waitForUpdate(signal?: AbortSignal): Promise<SwarmService["update"]> {
    const startedAt = performance.now();
    for (;;) {
      const { update, replicas } = await this.#read();
      const busy = update === null ? performance.now() - startedAt < beginMs : ["updating", "rollback_started"].includes(update.state);
      if (!busy) return update;
      if (performance.now() - startedAt > (replicas + 1) * (this.#options.waitMs + replaceMs)) {
        throw new ServalError("E_DEPLOY_REFUSED", `The Swarm has not ended its update: ${update?.message ?? "it has not begun"}.`);
      }
      await delay(pollMs, undefined, signal ? { signal } : {});
    }
  }

  async #imageId(name: string): Promise<string | null> {
    return await this.#engine.ask(["image", "inspect", "--format", "{{.Id}}", name]);
  }
}

function isUnproven({ labels }: SwarmService): boolean {
  return labels[notes.proven] === "no";
}
