import { parseCounters, type Counters } from "../counters.ts";
import type { Engine } from "../engine.ts";

/** A service of the Swarm, as far as a deploy asks. */
export interface SwarmService {
  /** The reference that its replicas run: NAME@sha256:… or NAME:TAG. */
  readonly image: string;
  readonly environment: readonly string[];
  readonly labels: Readonly<Record<string, string>>;
  /** Ids of its networks. */
  readonly networks: readonly string[];
  readonly replicas: number;
  readonly publishedPort: number | null;
  /** Of the update that runs, or ran last; null for none since the last change. */
  readonly update: { readonly state: string; readonly message: string } | null;
}

/** What `docker service inspect` says. */
interface Inspected {
  readonly Spec: {
    readonly Labels: Readonly<Record<string, string>> | null;
    readonly TaskTemplate: {
      readonly ContainerSpec: { readonly Image: string; readonly Env?: readonly string[] };
      readonly Networks?: readonly { readonly Target: string }[];
    };
    readonly Mode: { readonly Replicated?: { readonly Replicas: number } };
    readonly EndpointSpec?: { readonly Ports?: readonly { readonly PublishedPort: number }[] };
  };
  readonly UpdateStatus?: { readonly State: string; readonly Message: string };
}

export async function readService(engine: Engine, name: string): Promise<SwarmService> {
  const [{ Spec: spec, UpdateStatus: update }] = JSON.parse(await engine.docker(["service", "inspect", name])) as [Inspected];
  const { ContainerSpec: container, Networks: networks = [] } = spec.TaskTemplate;
  return {
    image: container.Image,
    environment: container.Env ?? [],
    labels: spec.Labels ?? {},
    networks: networks.map(({ Target }) => Target),
    replicas: spec.Mode.Replicated?.Replicas ?? 1,
    publishedPort: spec.EndpointSpec?.Ports?.[0]?.PublishedPort ?? null,
    update: update?.State === undefined ? null : { state: update.State, message: update.Message },
  };
}

/** The value of a variable in the environment of a service; empty where it is not set. */
export function variableOf({ environment }: SwarmService, name: string): string {
  return environment.find((line) => line.startsWith(`${name}=`))?.slice(name.length + 1) ?? "";
}

interface Task {
  readonly ID: string;
  readonly Spec: { readonly ContainerSpec: { readonly Image: string } };
  readonly Status: { readonly State: string; readonly Err?: string };
  readonly NetworksAttachments?: readonly { readonly Addresses: readonly string[] | null }[] | null;
}

/** Ids of the replicas of a service that run or ran: the Swarm keeps a few of those that ended. */
export async function listReplicas(engine: Engine, service: string): Promise<readonly string[]> {
  return (await engine.docker(["service", "ps", "--quiet", "--no-trunc", service])).split("\n").filter(Boolean);
}

async function listTasks(engine: Engine, service: string): Promise<readonly Task[]> {
  const ids = await listReplicas(engine, service);
  return ids.length === 0 ? [] : (JSON.parse(await engine.docker(["inspect", "--type", "task", ...ids])) as readonly Task[]);
}

/** The last replica of that image, none of the `earlier` ones, that ended by itself, and why; null where none did. */
export async function failureOf(
  engine: Engine,
  service: string,
  image: string,
  earlier: readonly string[],
): Promise<{ readonly task: string; readonly why: string } | null> {
  const tasks = await listTasks(engine, service);
  const failed = tasks.find(
    ({ ID, Spec, Status }) =>
      Spec.ContainerSpec.Image === image && !earlier.includes(ID) && (Status.State === "failed" || Status.State === "rejected"),
  );
  return failed === undefined ? null : { task: failed.ID, why: `a replica ended: ${failed.Status.Err ?? failed.Status.State}` };
}

const metricsScript = `Promise.all(process.argv.slice(1).map((ip) => fetch("http://" + ip + ":8000/metrics", { signal: AbortSignal.timeout(4000) })
  .then((answer) => answer.text(), () => null))).then((texts) => console.log(JSON.stringify(texts)))`;

/**
 * What all replicas counted, on whichever hosts they run: only a container in their network reaches them, so one of this host
 * asks. Null where none of this host runs, or no replica answers.
 */
export async function countersOf(engine: Engine, service: string): Promise<Counters | null> {
  const running = (await listTasks(engine, service)).filter(({ Status }) => Status.State === "running");
  const ips = running.flatMap(({ NetworksAttachments }) => NetworksAttachments?.[0]?.Addresses?.[0]?.split("/")[0] ?? []);
  const local = (await engine.docker(["ps", "--quiet", "--filter", `label=com.docker.swarm.service.name=${service}`])).split("\n");
  for (const id of local.filter(Boolean)) {
    const text = await engine.ask(["exec", id, "node", "-e", metricsScript, ...ips]);
    if (text === null) continue;
    const answers = (JSON.parse(text) as readonly (string | null)[]).filter((answer) => answer !== null);
    return answers.length === 0 ? null : answers.map(parseCounters).reduce(addCounters);
  }
  return null;
}

/** Two services' counts as if they were one. */
export function addCounters(a: Counters, b: Counters): Counters {
  const durations = new Map(a.durations);
  for (const [bound, count] of b.durations) durations.set(bound, (durations.get(bound) ?? 0) + count);
  return { requests: a.requests + b.requests, failed: a.failed + b.failed, durations: [...durations].sort(([x], [y]) => x - y) };
}
