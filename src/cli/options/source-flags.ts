import { Option, type Command } from "commander";
import type { LabelsFrom } from "../../data/layout/layout.ts";

/** How a source of labelled images is read, for the verbs that take one. */
export interface SourceFlags {
  readonly labelsFrom: LabelsFrom;
  readonly zipEncoding?: string;
}

export function addSourceFlags(command: Command): Command {
  const labels = new Option("--labels-from <WHERE>", "take the classes from folder names, or from file names as in rose.0.jpg");
  return command
    .addOption(labels.choices(["folder", "name"]).default("folder"))
    .option("--zip-encoding <NAME>", "encoding of names in a zip that are not UTF-8: gbk, shift_jis, big5, euc-kr, ...");
}
