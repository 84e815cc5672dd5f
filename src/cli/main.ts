#!/usr/bin/env node
import { readFileSync, realpathSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Command, CommanderError } from "commander";
import { debugWanted, keepCompiledModules } from "../config/env.ts";
import { ServalError, toServalError } from "../errors/serval-error.ts";
import type { CommandContext, Configure } from "./command.ts";
import { exitCodes } from "./exit-codes.ts";
import { requireNode } from "./node-version.ts";
import { createOutput } from "./output.ts";
import { stopSignal, type OnStop } from "./stop-signals.ts";

interface Verb {
  readonly summary: string;
  readonly onStop: OnStop;
  /** Commands load on demand, so that `serval --help` and `serval predict` start without the whole house. */
  readonly load: () => Promise<{ configure: Configure }>;
}

/** The full list of verbs; docs/cli.md is generated from it and from each verb's --help. */
export const VERBS: Readonly<Record<string, Verb>> = {
  up: {
    // It serves or trains: a stop takes as long as that of `serve` or `train`.
    summary: "Serve the released model, or train one on a drawn sample and serve that.",
    onStop: "finish",
    load: () => import("./commands/project/up.ts"),
  },
  init: { summary: "Set up a folder for your own labelled images.", onStop: "end", load: () => import("./commands/project/init.ts") },
  data: { summary: "Import labelled images, and check them.", onStop: "tidy", load: () => import("./commands/data/data.ts") },
  prepare: {
    summary: "Split the images and decode them once into shards.",
    onStop: "tidy",
    load: () => import("./commands/data/prepare.ts"),
  },
  train: {
    summary: "Train a network on the prepared data; best and final go to artifacts/.",
    onStop: "finish",
    load: () => import("./commands/model/train.ts"),
  },
  backbones: {
    summary: "List, show, add and remove pretrained networks.",
    onStop: "tidy",
    load: () => import("./commands/model/backbones.ts"),
  },
  evaluate: {
    summary: "Measure a model on images that it was not trained on.",
    onStop: "tidy",
    load: () => import("./commands/model/evaluate.ts"),
  },
  predict: { summary: "Classify image files with a model.", onStop: "end", load: () => import("./commands/model/predict.ts") },
  score: {
    summary: "Classify any number of pictures into one file; a job that was stopped continues.",
    onStop: "tidy",
    load: () => import("./commands/model/score.ts"),
  },
  export: {
    summary: "Write a model as ONNX, or its weights as safetensors.",
    onStop: "end",
    load: () => import("./commands/model/export.ts"),
  },
  repro: {
    summary: "Run the stages of dvc.yaml whose inputs changed.",
    onStop: "finish",
    load: () => import("./commands/pipeline/repro.ts"),
  },
  status: {
    summary: "Show which stages and data are out of date, and why.",
    onStop: "end",
    load: () => import("./commands/pipeline/status.ts"),
  },
  add: { summary: "Version files and folders as data, as DVC does.", onStop: "tidy", load: () => import("./commands/pipeline/add.ts") },
  checkout: {
    summary: "Restore the recorded version of the data from the cache.",
    onStop: "tidy",
    load: () => import("./commands/pipeline/checkout.ts"),
  },
  push: { summary: "Upload data from the cache to a remote.", onStop: "tidy", load: () => import("./commands/pipeline/push.ts") },
  pull: {
    summary: "Download the recorded version of the data from a remote.",
    onStop: "tidy",
    load: () => import("./commands/pipeline/pull.ts"),
  },
  gc: { summary: "Remove data from the cache that no version needs.", onStop: "tidy", load: () => import("./commands/pipeline/gc.ts") },
  params: { summary: "Compare parameters between versions.", onStop: "end", load: () => import("./commands/pipeline/params.ts") },
  metrics: {
    summary: "Show metrics, and compare them between versions.",
    onStop: "end",
    load: () => import("./commands/pipeline/metrics.ts"),
  },
  plots: {
    summary: "Draw parameters, metrics and curves of versions side by side, as one page.",
    onStop: "end",
    load: () => import("./commands/pipeline/plots.ts"),
  },
  lineage: {
    summary: "Trace a model back to its commit, data, parameters and run.",
    onStop: "end",
    load: () => import("./commands/registry/lineage.ts"),
  },
  track: {
    summary: "Run a tracking server that MLflow's clients can use, with pages to look at runs.",
    onStop: "tidy",
    load: () => import("./commands/registry/track.ts"),
  },
  models: {
    summary: "List, show, release, register and promote models.",
    onStop: "tidy",
    load: () => import("./commands/registry/models.ts"),
  },
  serve: { summary: "Serve a model over HTTP.", onStop: "finish", load: () => import("./commands/service/serve.ts") },
  monitor: {
    summary: "Compare what a model sees and answers in service with its training: drift, live and estimated accuracy.",
    onStop: "end",
    load: () => import("./commands/service/monitor.ts"),
  },
  predictions: {
    summary: "Export and move what the service answered, and the feedback.",
    onStop: "tidy",
    load: () => import("./commands/service/predictions.ts"),
  },
  deploy: {
    summary: "Replace the serving version without losing a request, and roll back automatically if the new one is worse.",
    onStop: "tidy",
    load: () => import("./commands/service/deploy.ts"),
  },
  "check-backup": {
    summary: "Check that a backup can be restored and stays in its volumes. scripts/restore.sh runs this.",
    onStop: "end",
    load: () => import("./commands/service/check-backup.ts"),
  },
  smoke: { summary: "Check from outside that a running service works.", onStop: "end", load: () => import("./commands/service/smoke.ts") },
};

export async function buildProgram(context: CommandContext, verbs: readonly string[]): Promise<Command> {
  const program = new Command("serval")
    .description("From a folder of labelled images to a monitored production classifier, without Python.")
    .version(readVersion(), "-V, --version", "display the version")
    // A wrong command line is reported as E_USAGE, like every other error.
    .configureOutput({ outputError: () => undefined })
    .exitOverride();
  for (const [name, verb] of Object.entries(VERBS)) {
    const command = program.command(name).description(verb.summary);
    command.copyInheritedSettings(program);
    if (verbs.includes(name)) (await verb.load()).configure(command, context);
  }
  return program;
}

/** Runs one command line and returns its exit code; never exits the process itself. */
export async function runCli(argv: readonly string[], context: CommandContext): Promise<number> {
  try {
    requireNode();
    const program = await buildProgram(context, argv[0] === "help" ? argv.slice(1, 2) : argv.slice(0, 1));
    if (argv.length === 0) {
      program.outputHelp();
      return 2;
    }
    await program.parseAsync([...argv], { from: "user" });
    return 0;
  } catch (error) {
    // Help that was asked for, or that a verb with subcommands shows when none is named.
    if (error instanceof CommanderError && (error.exitCode === 0 || error.code === "commander.help")) return error.exitCode === 0 ? 0 : 2;
    const failure = toFailure(error, context.signal);
    const output = context.output();
    output.warn(`${failure.code}: ${failure.message}\n  ${failure.hint}`);
    if (debugWanted()) output.warn(String((failure.cause as Error | undefined)?.stack ?? failure.stack));
    return exitCodes[failure.code];
  }
}

function toFailure(error: unknown, signal: AbortSignal): ServalError {
  if (error instanceof CommanderError) return new ServalError("E_USAGE", error.message.replace(/^error: /, ""), { cause: error });
  if (signal.aborted && !(error instanceof ServalError)) return new ServalError("E_INTERRUPTED", "Stopped by a signal.", { cause: error });
  return toServalError(error);
}

function readVersion(): string {
  // package.json lies two folders above, here as in the npm package.
  const text = readFileSync(join(import.meta.dirname, "../../package.json"), "utf8");
  return (JSON.parse(text) as { version: string }).version;
}

const invokedDirectly = process.argv[1] !== undefined && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url);
if (invokedDirectly) {
  keepCompiledModules();
  const args = process.argv.slice(2);
  const verb = Object.hasOwn(VERBS, args[0] ?? "") ? VERBS[args[0] as string] : undefined;
  const context: CommandContext = {
    cwd: process.cwd(),
    signal: stopSignal(verb?.onStop ?? "end", (code) => process.exit(code)),
    output: (options) => createOutput({ json: options?.json ?? false }),
  };
  for (const stream of [process.stdout, process.stderr]) {
    // A reader that has gone (`| head`) does not end the command: a training continues unwatched.
    stream.on("error", (error: NodeJS.ErrnoException) => {
      if (error.code !== "EPIPE") throw error;
    });
  }
  const code = await runCli(args, context);
  // A pipe takes 64 KiB at once; what is still queued would be lost by an exit.
  await Promise.all([process.stdout, process.stderr].map(async (stream) => await new Promise((resolve) => stream.write("", resolve))));
  process.exit(code);
}
