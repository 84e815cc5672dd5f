import type { Engine } from "../engine.ts";

/** A container of the service, as the engine has it. */
export interface ServiceContainer {
  readonly id: string;
  readonly imageId: string;
  readonly running: boolean;
  /** Such as `exited with 1`. */
  readonly state: string;
  readonly restarts: number;
  /** Milliseconds since 1970. */
  readonly createdAt: number;
  /** Whether it answers to the service's name, so that the proxy sends requests to it while it runs. */
  readonly admitted: boolean;
  /** SERVAL_MODEL in its environment. */
  readonly model: string;
  /** Network -> IP; empty while it does not run. */
  readonly networks: Readonly<Record<string, string>>;
  /** Port of the container -> address on this machine. */
  readonly published: Readonly<Record<string, string>>;
}

/** What `docker inspect` says, as far as it is asked. */
interface Inspected {
  readonly Id: string;
  readonly Image: string;
  readonly Created: string;
  readonly RestartCount: number;
  readonly State: { readonly Status: string; readonly Running: boolean; readonly Restarting: boolean; readonly ExitCode: number };
  readonly Config: { readonly Env: readonly string[] | null };
  readonly NetworkSettings: {
    readonly Ports: Readonly<Record<string, readonly { readonly HostIp: string; readonly HostPort: string }[] | null>> | null;
    readonly Networks: Readonly<Record<string, { readonly Aliases: readonly string[] | null; readonly IPAddress: string }>>;
  };
}

export interface ServiceName {
  readonly project: string;
  /** Its name in the compose file, and in the network. */
  readonly service: string;
}

/** Every container of a service in any state, oldest first. */
export async function listContainers(engine: Engine, { project, service }: ServiceName): Promise<readonly ServiceContainer[]> {
  const labels = [`project=${project}`, `service=${service}`, "oneoff=False"];
  const filters = labels.flatMap((label) => ["--filter", `label=com.docker.compose.${label}`]);
  const ids = await engine.docker(["ps", "--all", "--quiet", "--no-trunc", ...filters]);
  const found = await Promise.all(ids.split("\n").map(async (id) => (id === "" ? undefined : await inspectContainer(engine, id, service))));
  return found.filter((container) => container !== undefined).sort((a, b) => a.createdAt - b.createdAt);
}

/** Undefined where there is no such container. */
export async function inspectContainer(engine: Engine, id: string, service: string): Promise<ServiceContainer | undefined> {
  const text = await engine.ask(["container", "inspect", id]);
  return text === null ? undefined : toContainer((JSON.parse(text) as [Inspected])[0], service);
}

function toContainer(found: Inspected, service: string): ServiceContainer {
  const { State: state, NetworkSettings: network } = found;
  const running = state.Running && !state.Restarting;
  const networks = Object.entries(network.Networks);
  const ports = Object.entries(network.Ports ?? {}).flatMap(([port, published]) => {
    const first = published?.[0];
    return first
      ? [[Number.parseInt(port, 10), `${first.HostIp === "0.0.0.0" ? "127.0.0.1" : first.HostIp}:${first.HostPort}`] as const]
      : [];
  });
  return {
    id: found.Id,
    imageId: found.Image,
    running,
    state: state.Status === "exited" ? `exited with ${state.ExitCode}` : state.Status,
    restarts: found.RestartCount,
    createdAt: Date.parse(found.Created),
    admitted: networks.some(([, { Aliases }]) => Aliases?.includes(service)),
    model: found.Config.Env?.find((line) => line.startsWith("SERVAL_MODEL="))?.slice("SERVAL_MODEL=".length) ?? "",
    networks: Object.fromEntries(networks.map(([name, { IPAddress }]) => [name, IPAddress])),
    published: Object.fromEntries(ports),
  };
}

/**
 * Lets a container answer to the service's name in its networks, or no longer. The engine changes names only by a new
 * connection, which cuts what comes over the old one: so only for a container that no request reaches.
 */
export async function setAdmitted(engine: Engine, container: ServiceContainer, service: string, admitted: boolean): Promise<void> {
  for (const network of Object.keys(container.networks)) {
    await engine.docker(["network", "disconnect", network, container.id]);
    await engine.docker(["network", "connect", ...(admitted ? ["--alias", service] : []), network, container.id]);
  }
}
