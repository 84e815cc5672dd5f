import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startPretendEngine, type Answer, type PretendEngine } from "./pretend-engine.ts";

interface PretendContainer {
  readonly id: string;
  readonly image: string;
  readonly model: string;
  running: boolean;
  admitted: boolean;
  /** It ends as soon as it is started. */
  broken: boolean;
}

/** A compose project on an engine that is only pretended: all of its containers that run answer as one service that is real. */
export interface PretendCompose {
  /** Folder of its docker-compose.yml. */
  readonly dir: string;
  readonly env: PretendEngine["env"];
  /** Oldest first. */
  readonly containers: PretendContainer[];
  /** Tag -> image. */
  readonly tags: Map<string, string>;
  /** Names images by tags, as earlier deploys did. */
  tag(...named: readonly (readonly [tag: string, image: string])[]): void;
  /** Adds a container that serves. */
  add(image: string, changes?: Partial<PretendContainer>): PretendContainer;
  close(): Promise<void>;
}

export const pretendProject = "pretended";
const tagged = "app:latest";

export async function startPretendCompose(serviceUrl: string): Promise<PretendCompose> {
  const containers: PretendContainer[] = [];
  const tags = new Map<string, string>();
  let made = 0;
  const ipOf = ({ id }: PretendContainer): string => `10.0.0.${id.slice(1)}`;
  // HAProxy's statistics: the containers that it sends requests to.
  const statistics = createServer((_request, response) => {
    const asked = containers.filter(({ running, admitted }) => running && admitted);
    response.end(["# pxname,status,addr", ...asked.map((container) => `service,UP,${ipOf(container)}:8000`)].join("\n"));
  });
  await once(statistics.listen(0, "127.0.0.1"), "listening");
  const port = (address: string): object[] => [{ HostIp: "127.0.0.1", HostPort: new URL(address).port }];
  const proxyPorts = {
    "8000/tcp": port(serviceUrl),
    "8404/tcp": port(`http://127.0.0.1:${(statistics.address() as AddressInfo).port}`),
  };

  const find = (id: string | undefined): PretendContainer => {
    const found = containers.find((container) => container.id === id);
    if (found) return found;
    throw new Error(`No such container: ${id}`);
  };
  const add: PretendCompose["add"] = (image, changes = {}) => {
    const container = { id: `c${++made}`, image, model: "", running: true, admitted: true, broken: false, ...changes };
    containers.push(container);
    return container;
  };
  const imageOf = (name: string | undefined): string => {
    const image = name?.startsWith("sha256:") ? name : tags.get(name ?? "");
    if (image !== undefined) return image;
    throw new Error(`No such image: ${name}`);
  };
  const describe = (container: PretendContainer): object => ({
    Id: container.id,
    Image: container.image,
    Created: new Date(Number(container.id.slice(1))).toISOString(),
    RestartCount: 0,
    State: { Status: container.running ? "running" : "exited", Running: container.running, Restarting: false, ExitCode: 1 },
    Config: { Env: [`SERVAL_MODEL=${container.model}`] },
    NetworkSettings: {
      Ports: container.running ? { "8000/tcp": port(serviceUrl) } : {},
      Networks: { net: { Aliases: container.admitted ? ["app"] : [], IPAddress: ipOf(container) } },
    },
  });
  const proxy = {
    ...describe({ id: "c0", image: "", model: "", running: true, admitted: false, broken: false }),
    NetworkSettings: { Ports: proxyPorts, Networks: {} },
  };
  const file = {
    services: {
      app: { image: tagged, labels: { "serval.role": "service" }, environment: { SERVAL_MODEL: "" } },
      proxy: { image: "haproxy", labels: { "serval.role": "proxy" } },
    },
  };
  const compose = (words: readonly string[], model: string): string => {
    if (words.includes("config")) return JSON.stringify(file);
    if (words.includes("--no-start")) add(imageOf(tagged), { model, running: false });
    return "";
  };
  const commands: Readonly<Record<string, (words: readonly string[], model: string) => string>> = {
    version: () => "",
    compose,
    ps: (words) => {
      const service = words.find((word) => word.includes("compose.service="));
      return service?.endsWith("=proxy") ? "c0" : containers.map(({ id }) => id).join("\n");
    },
    container: ([, id]) => JSON.stringify([id === "c0" ? proxy : describe(find(id))]),
    image: ([, , format, name]) => {
      const image = imageOf(name);
      if (format === "{{.Id}}") return image;
      return JSON.stringify(format?.includes("RepoTags") ? [...tags].flatMap(([tag, of]) => (of === image ? [tag] : [])) : []);
    },
    network: (words) => {
      find(words.at(-1)).admitted = words.includes("--alias");
      return "";
    },
    start: ([id]) => {
      const container = find(id);
      container.running = !container.broken;
      return "";
    },
    stop: (ids) => {
      for (const id of ids) find(id).running = false;
      return "";
    },
    rm: (words) => {
      containers.splice(containers.indexOf(find(words.at(-1))), 1);
      return "";
    },
    tag: ([name, tag = ""]) => {
      tags.set(tag, imageOf(name));
      return "";
    },
    rmi: (words) => {
      tags.delete(words.at(-1) ?? "");
      return "";
    },
    logs: () => "",
  };
  const answer: Answer = ([command = "", ...words], model) => {
    const known = commands[command];
    if (known === undefined) throw new Error(`unexpected command: docker ${command} ${words.join(" ")}`);
    return known(words, model);
  };
  const engine = await startPretendEngine(answer);
  const dir = await mkdtemp(join(tmpdir(), "serval-compose-"));
  await writeFile(join(dir, "docker-compose.yml"), "");
  return {
    dir,
    env: { ...engine.env, COMPOSE_PROJECT_NAME: pretendProject },
    containers,
    tags,
    tag(...named) {
      for (const [tag, of] of named) tags.set(tag, of);
    },
    add,
    async close() {
      statistics.close().closeAllConnections();
      await engine.close();
      await rm(dir, { recursive: true });
    },
  };
}
