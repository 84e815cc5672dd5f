import { mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { Command } from "commander";
import { buildProgram, VERBS } from "../src/cli/main.ts";
import { exitCodes } from "../src/cli/exit-codes.ts";
import { createOutput } from "../src/cli/output.ts";
import { describeExpected, type SchemaNode } from "../src/config/describe-schema.ts";
import { variables } from "../src/config/settings.ts";
import { paramPaths, parseParams } from "../src/config/params.ts";
import { paramsSchema } from "../src/config/params-schema.ts";
import { renderParams } from "../src/config/params-template.ts";
import { ERRORS, type ErrorCode } from "../src/errors/error-table.ts";
import { createServiceMetrics } from "../src/monitor/metrics.ts";
import { renderDvcFiles } from "../src/pipeline/dvc-files/initial-files.ts";
import { buildApp } from "../src/serve/http/app.ts";
import { errorStatus } from "../src/serve/http/error-status.ts";
import { defaultRules } from "../src/serve/http/rules.ts";
import { ModelSlot } from "../src/serve/model/model-slot.ts";
import { loadServedModel } from "../src/serve/model/served-model.ts";
import { findModel } from "../src/workflows/find-model.ts";
import { localSource } from "../src/workflows/project/init-project.ts";
import { documents, wrapMarkdown } from "./wrap-markdown.ts";

const helpWidth = 100;
const root = join(import.meta.dirname, "..");

/** The generated pages: path below the repository -> text. A test compares them with what is on disk. */
export async function renderDocs(): Promise<Record<string, string>> {
  return {
    "docs/errors.md": wrapMarkdown(renderErrors()),
    "docs/cli.md": wrapMarkdown(await renderCli()),
    "docs/configuration.md": wrapMarkdown(renderConfiguration()),
    "docs/openapi.json": await renderOpenapi(),
    "params.yaml": await renderOwnParams(),
    ...(await renderOwnPipeline()),
  };
}

const note = "<!-- Written by `npm run docs`; edits here are lost. -->";

/** This repository's params.yaml: its own values, with the comments and any new keys of the schema. */
async function renderOwnParams(): Promise<string> {
  const params = parseParams(await readFile(join(root, "params.yaml"), "utf8"));
  const valueAt = (path: string): unknown =>
    path.split(".").reduce<unknown>((section, key) => (section as Record<string, unknown>)[key], params);
  return renderParams(Object.fromEntries(paramPaths().map((path) => [path, valueAt(path)])));
}

/** What `serval init` writes for DVC, with the command and the source of this repository. */
async function renderOwnPipeline(): Promise<Readonly<Record<string, string>>> {
  const { data } = parseParams(await readFile(join(root, "params.yaml"), "utf8"));
  return renderDvcFiles({ command: "npm run --silent serval --", sourcePath: localSource(data.source) });
}

/** The API as a service of the released model describes it; the version is that of the API, not of the model. */
async function renderOpenapi(): Promise<string> {
  const { version } = JSON.parse(await readFile(join(root, "package.json"), "utf8")) as { version: string };
  const { dir } = await findModel(undefined, { cwd: root });
  const slot = new ModelSlot(await loadServedModel(dir, { workers: 1 }), { model: {} });
  const app = await buildApp({ slot, rules: defaultRules, metrics: createServiceMetrics({ queueDepth: () => 0 }), version });
  const answer = await app.inject({ path: "/openapi.json", headers: { host: "localhost" } });
  const document = answer.json<{ info: object }>();
  await app.close();
  await slot.close();
  return `${JSON.stringify({ ...document, info: { ...document.info, version } }, null, 2)}\n`;
}

function renderErrors(): string {
  const rows = (Object.keys(ERRORS) as ErrorCode[]).map((code) => {
    const { title, hint } = ERRORS[code];
    return `| <a id="${code}"></a>\`${code}\` | ${errorStatus[code]} | ${exitCodes[code]} | ${cell(title)} | ${cell(hint)} |`;
  });
  return `${note}

# Errors

Every error that Serval raises on purpose has one of these codes. The message names the place, what was found and what was
expected; the hint is the next step. HTTP answers carry the status, and commands end with the exit code: 1 for a failure, 2
for a wrong command line or configuration, 3 for bad input data, 130 when interrupted.

| code | HTTP | exit | meaning | what to do |
|---|---|---|---|---|
${rows.join("\n")}
`;
}

async function renderCli(): Promise<string> {
  const context = { cwd: root, signal: new AbortController().signal, output: () => createOutput() };
  const program = await buildProgram(context, Object.keys(VERBS));
  const parts = program.commands.flatMap((command) => renderCommand(command, "serval"));
  return `${note}

# The command line

\`npx serval VERB\`, or \`npm run serval -- VERB\` in this repository. Results go to stdout, progress and remarks to stderr.
The exit code is 0 on success, else that of the [error](errors.md).

\`Ctrl-C\` and SIGTERM end a command within two seconds. Those that only read end at once; those that write first put away what they were
working on. \`deploy\` says what serves, and the next one removes what did not pass its checks. Four take the time that they need, and end at once at a second signal: \`serve\` answers what came
before and exits with 0, \`train\` completes its step and writes a checkpoint, \`up\` does the one or the other, and \`repro\` waits for the command of the stage, which gets the signal too.
The exit code is 130, or 143 where SIGTERM ended the command at once.

${Object.entries(VERBS)
  .map(([name, { summary }]) => `- [\`serval ${name}\`](#serval-${name}): ${summary}`)
  .join("\n")}

${parts.join("\n")}`;
}

function renderCommand(command: Command, parent: string): string[] {
  const name = `${parent} ${command.name()}`;
  command.configureHelp({ helpWidth });
  const depth = "#".repeat(name.split(" ").length);
  const text = `${depth} ${name}\n\n\`\`\`text\n${command.helpInformation().trimEnd()}\n\`\`\`\n`;
  return [text, ...command.commands.filter((child) => child.name() !== "help").flatMap((child) => renderCommand(child, name))];
}

function renderConfiguration(): string {
  const settings = Object.values(variables).map(({ name, schema }) => {
    const node: SchemaNode = schema;
    return `| \`${name}\` | ${shown(node.default)} | ${cell(node.description ?? "")} | ${cell(describeExpected(node))} |`;
  });
  return `${note}

# Configuration

Settings of an experiment are in \`params.yaml\`, under version control. Settings of a machine are in the environment.

## Parameters

\`params.yaml\` in the working folder; every key has a default, so the file may be short or missing. \`serval init\` writes one
with all keys and their meaning. \`--set KEY=VALUE\` replaces one value for one run: \`serval train --set train.epochs=3\`. Some defaults
are others with \`train.strategy: finetune\` or \`auto\`, after "fine-tuning". An unknown key or a value out of range is the error [\`E_PARAMS\`](errors.md#E_PARAMS).

${Object.entries(paramsSchema.properties ?? {})
  .map(([key, node]) => `### ${key}\n\n${node.description}\n\n${paramsTable(node, `${key}.`)}`)
  .join("\n")}
## Environment

A variable that is empty counts as not set. A bad value is the error [\`E_ENV\`](errors.md#E_ENV).

| variable | default | meaning | accepts |
|---|---|---|---|
${settings.join("\n")}

## What Serval writes and sends

Serval writes to the working folder and the state folder. Compiled modules, which make the next start faster, are kept in \`serval/\` below
\`$XDG_CACHE_HOME\` or \`~/.cache\`, where only you can write; \`NODE_COMPILE_CACHE\` names another folder, and \`NODE_DISABLE_COMPILE_CACHE=1\` keeps none.

Serval connects only to addresses that you name: a data source, a remote, a tracking server. ONNX Runtime would send usage data and write an
identifier of the machine below your home; Serval switches that off. A thread cannot: a program that loads models only in worker threads is
refused with [\`E_ENGINE_TELEMETRY\`](errors.md#E_ENGINE_TELEMETRY) unless it starts with \`ORT_DISABLE_TELEMETRY=1\`.
`;
}

function paramsTable(section: SchemaNode, prefix: string): string {
  const rows = (node: SchemaNode, path: string): string[] =>
    Object.entries(node.properties ?? {}).flatMap(([key, child]) =>
      child.properties
        ? rows(child, `${path}${key}.`)
        : [
            `| \`${path}${key}\` | ${shown(child.default)}${tuned(child.fineTuningDefault)} | ${cell(child.description ?? "")} | ${cell(describeExpected(child))} |`,
          ],
    );
  return `| parameter | default | meaning | accepts |\n|---|---|---|---|\n${rows(section, prefix).join("\n")}\n`;
}

function shown(value: unknown): string {
  return value === undefined ? "" : `\`${typeof value === "string" ? value : JSON.stringify(value)}\``;
}

/** The default beside train.strategy finetune, where it is another. */
function tuned(value: unknown): string {
  return value === undefined ? "" : `; fine-tuning ${shown(value)}`;
}

function cell(text: string): string {
  return text.replaceAll("|", "\\|").replaceAll("\n", " ");
}

if (import.meta.main) {
  for (const [path, text] of Object.entries(await renderDocs())) {
    await mkdir(dirname(join(root, path)), { recursive: true });
    await writeFile(join(root, path), text);
  }
  for (const path of documents()) {
    const text = await readFile(join(root, path), "utf8");
    const wrapped = wrapMarkdown(text);
    if (wrapped !== text) await writeFile(join(root, path), wrapped);
  }
}
