import { relative } from "node:path";
import { Option, type Command } from "commander";
import type { CommandContext, Configure } from "../../command.ts";
import { describeAdded, describeBackbone, describeBackboneRows } from "../../describe/backbones.ts";
import { parseColours, parseSide } from "../../options/picture-values.ts";

// Schemas and the engine take a second to load: they are imported where they are needed.
export const configure: Configure = (command, context) => {
  configureList(command.command("list").description("List the backbones of the working folder, and those that came with Serval."), context);
  configureShow(command.command("show").description("Show what a backbone is, and check its files."), context);
  configureAdd(command.command("add").description("Add a backbone to the working folder."), context);
  configureRemove(command.command("remove").description("Remove a backbone from the working folder."), context);
};

function configureList(command: Command, context: CommandContext): void {
  command.option("--json", "print the result as JSON").action(async (options: { json?: boolean }) => {
    const output = context.output(options);
    const { readBackboneRows } = await import("../../../workflows/model/list-backbones.ts");
    const { rows, problems } = await readBackboneRows(context.cwd);
    for (const problem of problems) output.warn(problem);
    output.result(rows, describeBackboneRows(rows));
  });
}

function configureShow(command: Command, context: CommandContext): void {
  command
    .argument("<NAME>", "name of a backbone, or its folder")
    .option("--json", "print the result as JSON")
    .action(async (name: string, options: { json?: boolean }) => {
      const { showBackbone } = await import("../../../workflows/model/list-backbones.ts");
      const shown = await showBackbone(name, context.cwd);
      context.output(options).result(shown, describeBackbone(shown, context.cwd));
    });
}

interface AddFlags {
  readonly name?: string;
  readonly licence?: string;
  readonly side?: number;
  readonly mean?: number[];
  readonly std?: number[];
  readonly output?: string;
  readonly layout?: "NCHW" | "NHWC";
  readonly json?: boolean;
}

function configureAdd(command: Command, context: CommandContext): void {
  command
    .argument("<SOURCE>", "safetensors file, ONNX file, bundle folder, or hf:OWNER/NAME@REVISION")
    .option("--name <NAME>", "name of the backbone (default: made of the source's name)")
    .option("--licence <TEXT>", "licence of the weights, for the record")
    .option("--mean <R,G,B>", "mean of the colours in [0,1] that pictures are normalised with", (text) => parseColours("--mean", text))
    .option("--std <R,G,B>", "their standard deviation", (text) => parseColours("--std", text))
    .option("--side <PIXELS>", "ONNX: side of the pictures, where the file does not say it", parseSide)
    .option("--output <NAME>", "ONNX: the output with the features, where there are several")
    .addOption(
      new Option("--layout <LAYOUT>", "ONNX: order of the input's dimensions, where the file does not say it").choices(["NCHW", "NHWC"]),
    )
    .option("--json", "print the result as JSON")
    .action(async (source: string, { json, ...flags }: AddFlags) => {
      const output = context.output({ json });
      const { addBackbone } = await import("../../../workflows/model/add-backbone.ts");
      const added = await addBackbone({ cwd: context.cwd, source, ...flags, reporter: output, signal: context.signal });
      output.result(added, describeAdded(added, context.cwd));
    });
}

function configureRemove(command: Command, context: CommandContext): void {
  command
    .argument("<NAME>", "name of a backbone of the working folder")
    .option("--json", "print the result as JSON")
    .action(async (name: string, options: { json?: boolean }) => {
      const { removeBackbone } = await import("../../../backbones/write-backbone.ts");
      const dir = relative(context.cwd, await removeBackbone(context.cwd, name));
      context.output(options).result({ removed: name, dir }, `Removed ${dir}.`);
    });
}
