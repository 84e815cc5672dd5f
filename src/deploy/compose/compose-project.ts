import { access } from "node:fs/promises";
import { basename, join, resolve } from "node:path";
import { parsePlainYaml } from "../../config/yaml.ts";
import { ServalError } from "../../errors/serval-error.ts";
import { readIfThere } from "../../files.ts";
import { whatWasSaid, type CommandOptions, type Engine } from "../engine.ts";

/** The compose file and what a deploy has to know of it. */
export interface ComposeProject {
  readonly project: string;
  /** Name of the service that is deployed: the one with the label serval.role=service. */
  readonly service: string;
  /** Name of the proxy in front of it: serval.role=proxy. */
  readonly proxy: string;
  /** Name of the image that the file itself starts the service with. */
  readonly image: string;
  /** SERVAL_MODEL that the file gives the service. */
  readonly model: string;
  readonly compose: (args: readonly string[], options?: CommandOptions) => Promise<string>;
}

interface ComposeService {
  readonly image?: string;
  readonly labels?: Readonly<Record<string, string>> | readonly string[];
  readonly environment?: Readonly<Record<string, string | null>>;
}

/** Reads docker-compose.yml in `dir` with its variables put in. Throws E_DEPLOY_NOT_READY for one that cannot be used. */
export async function readComposeProject(
  engine: Engine,
  dir: string,
  env: Readonly<Record<string, string | undefined>>,
): Promise<ComposeProject> {
  const file = join(dir, "docker-compose.yml");
  await access(file).catch((cause: unknown) => {
    throw new ServalError("E_DEPLOY_NOT_READY", `There is no ${file}.`, { cause, hint: "Name its folder with --dir." });
  });
  const project = env["COMPOSE_PROJECT_NAME"] || (await namedInDotenv(dir)) || folderName(dir);
  const compose: ComposeProject["compose"] = async (args, options) =>
    await engine.compose(["--project-directory", dir, "--project-name", project, "--file", file, ...args], {
      label: `docker compose ${args[0]}`,
      ...options,
    });
  const text = await compose(["config"]).catch((error: unknown) => {
    if (!(error instanceof ServalError) || error.code !== "E_ENGINE_COMMAND") throw error;
    throw new ServalError("E_DEPLOY_NOT_READY", `${file} cannot be used: ${whatWasSaid(error)}`, {
      cause: error,
      hint: "Fill in .env beside it, as .env.example says.",
    });
  });
  const { services = {} } = parsePlainYaml(text, file, "E_DEPLOY_NOT_READY") as { services?: Readonly<Record<string, ComposeService>> };
  const withRole = (role: string): readonly [string, ComposeService] => {
    const found = Object.entries(services).find(([, { labels }]) => labelOf(labels, "serval.role") === role);
    if (found) return found;
    throw new ServalError("E_DEPLOY_NOT_READY", `${file} has no service with the label serval.role: ${role}.`, {
      hint: "Compare it with deployment/docker-compose.yml of Serval: the classifier has serval.role: service, HAProxy in front of it serval.role: proxy.",
    });
  };
  const [service, { image, environment }] = withRole("service");
  if (image === undefined) throw new ServalError("E_DEPLOY_NOT_READY", `${file}: the service ${service} has no image.`);
  return { project, service, proxy: withRole("proxy")[0], image, model: environment?.["SERVAL_MODEL"] ?? "", compose };
}

function labelOf(labels: ComposeService["labels"], name: string): string | undefined {
  if (labels === undefined) return undefined;
  const pairs = Array.isArray(labels)
    ? (labels as readonly string[]).map((text) => text.split("=") as [string, string])
    : Object.entries(labels);
  return pairs.find(([key]) => key === name)?.[1];
}

async function namedInDotenv(dir: string): Promise<string | undefined> {
  const text = (await readIfThere(join(dir, ".env"))) ?? "";
  return /^COMPOSE_PROJECT_NAME=["']?([\w-]+)/m.exec(text)?.[1];
}

/** As compose itself makes a project's name of its folder. */
function folderName(dir: string): string {
  return basename(resolve(dir))
    .toLowerCase()
    .replaceAll(/[^a-z0-9_-]/g, "")
    .replace(/^[_-]+/, "");
}
