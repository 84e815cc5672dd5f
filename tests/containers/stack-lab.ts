import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { formRequest } from "../../bench/load.ts";
import { Reader } from "../docs/reader.ts";
import { buildImage, docker, eventually, root, run } from "./engine.ts";
import { startLoad, type SteadyLoad } from "./steady-load.ts";

export interface StackLabOptions {
  readonly stack: string;
  readonly port: number;
  readonly replicas: number;
  /** Image of the service that the versions are made of. */
  readonly base: string;
}

/** The repository's stack.yaml on an engine that forms a Swarm for as long as the lab is open. */
export interface StackLab {
  readonly versions: { readonly v1: string; readonly v2: string; /** Has no model, so it ends at once. */ readonly empty: string };
  /** Has the Swarm change the service (`docker service update ARGS`), and waits until it says how that ended: its UpdateStatus.State. */
  update(...args: readonly string[]): Promise<string>;
  /** Waits until no replica and no database runs, and removes what is left of their containers, so that nothing holds their volumes. */
  stopped(): Promise<void>;
  /** Starts them again. */
  started(): Promise<void>;
  /** Waits until this number of replicas run and the proxy sends requests to them. */
  settled(): Promise<void>;
  /** Containers of the service that run, by their ids. */
  replicas(): Promise<readonly string[]>;
  /** Images of the containers that run, sorted. */
  images(): Promise<readonly string[]>;
  /** Which version of its model each replica serves, sorted; the version of the bundle where it is not from a registry. */
  models(): Promise<readonly string[]>;
  /** Starts `serval track` beside the replicas, where they reach it as `address`; `url` is its address from here. */
  trackingServer(): Promise<{ readonly address: string; readonly url: string; stop(): Promise<void> }>;
  /** The value of a PromQL expression that gives one number. */
  query(expression: string): Promise<number>;
  load(): Promise<SteadyLoad>;
  close(): Promise<void>;
}

const classifier = "cats-dogs-classifier";
const database = "predictions";

export async function openStackLab({ stack, port, replicas, base }: StackLabOptions): Promise<StackLab> {
  const service = `${stack}_${classifier}`;
  const versions = { v1: `${stack}:v1`, v2: `${stack}:v2`, empty: `${stack}:empty` };
  await buildImage(versions.v1, `FROM ${base}\nENV RELEASE=1`);
  await buildImage(versions.v2, `FROM ${base}\nENV RELEASE=2`);
  await buildImage(versions.empty, `FROM ${base}\nUSER root\nRUN rm -r models/*\nUSER node`);
  await leaveSwarm(stack);
  const settings = {
    SERVAL_IMAGE: versions.v1,
    SERVAL_REPLICAS: String(replicas),
    SERVAL_PUBLISH: String(port),
    // Grafana's image is pulled from Docker Hub, which these tests do without.
    GRAFANA_REPLICAS: "0",
  };
  await Reader.withEngine(join(root, "deployment"), settings).follow("docs/deployment.md", "docker swarm init", {
    put: {
      "docker swarm init ": "docker swarm init --advertise-addr 127.0.0.1 --listen-addr 127.0.0.1:2377 ",
      "docker stack deploy": "docker stack deploy --resolve-image never",
      "stack.yaml serval\n": `stack.yaml ${stack}\n`,
      "docker service ls ": `timeout 280 bash -c 'until curl -fs localhost:${port}/health; do sleep 0.5; done'; docker service ls `,
      "localhost:8000": `localhost:${port}`,
    },
  });

  const running = async (name: string): Promise<string[]> => {
    const ids = await docker("ps", "--quiet", "--filter", `label=com.docker.swarm.service.name=${stack}_${name}`);
    return ids.split("\n").filter(Boolean);
  };
  const prometheus = async (expression: string): Promise<number> => {
    const [id = ""] = await running("prometheus");
    const text = await docker("exec", id, "/bin/promtool", "query", "instant", "http://127.0.0.1:9090", expression);
    return Number(/=> (\S+) @/.exec(text)?.[1] ?? Number.NaN);
  };
  /** How many replicas the proxy sends requests to. */
  const proxied = async (): Promise<number> => {
    const [id = ""] = await running("proxy");
    const ask = "exec 3<>/dev/tcp/127.0.0.1/8404; printf 'GET /;csv HTTP/1.0\\r\\n\\r\\n' >&3; cat <&3";
    return [...(await docker("exec", id, "bash", "-c", ask)).matchAll(/^service,service\d+,.*,UP,/gm)].length;
  };
  const settled = async (): Promise<void> => void (await eventually(proxied, (count) => count === replicas, 280));
  return {
    versions,
    async update(...args) {
      await docker("service", "update", "--detach", "--no-resolve-image", ...args, service);
      const state = async (): Promise<string> => await docker("service", "inspect", "--format", "{{.UpdateStatus.State}}", service);
      return await eventually(state, (now) => ["completed", "paused", "rollback_completed", "rollback_paused"].includes(now), 280);
    },
    async stopped() {
      for (const name of [classifier, database]) {
        await docker("service", "scale", "--detach", `${stack}_${name}=0`);
        await eventually(
          async () => await running(name),
          (ids) => ids.length === 0,
        );
        const left = await docker("ps", "--all", "--quiet", "--filter", `label=com.docker.swarm.service.name=${stack}_${name}`);
        await docker("rm", "--force", ...left.split("\n").filter(Boolean));
      }
    },
    async started() {
      await docker("service", "scale", "--detach", `${stack}_${database}=1`, `${service}=${replicas}`);
      await settled();
    },
    settled,
    replicas: async () => await running(classifier),
    async images() {
      const ids = await running(classifier);
      return (await Promise.all(ids.map(async (id) => await docker("inspect", "--format", "{{.Config.Image}}", id)))).sort();
    },
    async models() {
      const ask = `fetch("http://127.0.0.1:8000/health").then(async (answer) => console.log((await answer.json()).model.version))`;
      return (await Promise.all((await running(classifier)).map(async (id) => await docker("exec", id, "node", "-e", ask)))).sort();
    },
    async trackingServer() {
      const options = ["--detach", "--label", `com.docker.stack.namespace=${stack}`, "--env", "SERVAL_PORT=5001"];
      const network = ["--network", `${stack}_service`, "--network-alias", "tracking", "--publish", `127.0.0.1:${port + 1}:5001`];
      const id = await docker("run", ...options, ...network, base, "track", "--allowed-hosts", "tracking:5001");
      const url = `http://127.0.0.1:${port + 1}`;
      await eventually(
        async () => (await fetch(`${url}/health`)).status,
        (status) => status === 200,
      );
      return { address: "http://tracking:5001", url, stop: async () => void (await docker("rm", "--force", "--volumes", id)) };
    },
    query: prometheus,
    async load() {
      return startLoad(port, formRequest("/predict", await readFile(join(root, "test_image.jpg"))));
    },
    async close() {
      await leaveSwarm(stack);
      for (const tag of Object.values(versions)) await run("docker", ["rmi", "--force", tag]);
    },
  };
}

/** Ends the Swarm with all that it runs; what a run that was killed left goes as well. */
async function leaveSwarm(stack: string): Promise<void> {
  await run("docker", ["stack", "rm", stack]);
  const own = ["--filter", `label=com.docker.stack.namespace=${stack}`];
  await run("docker", ["swarm", "leave", "--force"]);
  const left = (await docker("ps", "--all", "--quiet", ...own)).split("\n").filter(Boolean);
  if (left.length > 0) await run("docker", ["rm", "--force", "--volumes", ...left]);
  const volumes = (await docker("volume", "ls", "--quiet", "--filter", `name=${stack}_`)).split("\n").filter(Boolean);
  if (volumes.length > 0) await run("docker", ["volume", "rm", ...volumes]);
}
