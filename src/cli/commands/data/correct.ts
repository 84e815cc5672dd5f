import { Option, type Command } from "commander";
import { ServalError } from "../../../errors/serval-error.ts";
import { correctData, type Verdict } from "../../../workflows/data/correct-data.ts";
import type { CommandContext } from "../../command.ts";
import { describeCorrections } from "../../describe/data.ts";

interface CorrectFlags {
  readonly relabel?: string;
  readonly exclude?: boolean;
  readonly keep?: boolean;
  readonly class?: string;
  readonly from?: string;
  readonly why?: string;
  readonly by?: string;
  readonly json?: boolean;
}

export function configureCorrect(command: Command, context: CommandContext): void {
  command
    .description("Record what is wrong with labels and pictures in data/corrections.jsonl; the next import applies it.")
    .argument("[PICTURES...]", "paths such as rose/12.jpg, or SHA-256")
    .option("--relabel <LABEL>", "give the pictures another label")
    .addOption(new Option("--exclude", "leave the pictures out").conflicts(["relabel", "keep"]))
    .addOption(new Option("--keep", "the pictures are right as they are: no longer list them as suspects").conflicts(["relabel"]))
    .option("--class <LABEL>", "all pictures of a class: with --relabel renamed or merged, with --exclude dropped")
    .option("--from <FILE>", "read decisions from a CSV, such as artifacts/quality/suspects.csv")
    .option("--why <TEXT>", "the reason; recorded")
    .option("--by <NAME>", "who decided it (default: Git's user.name)")
    .option("--json", "print the result as JSON")
    .action(async (pictures: string[], { class: name, from, by, json, ...flags }: CorrectFlags) => {
      const verdict = readVerdict(flags);
      const isNamed = pictures.length > 0 || name !== undefined;
      if (isNamed !== (verdict !== undefined) || isNamed === (from !== undefined) || (pictures.length > 0 && name !== undefined)) {
        throw new ServalError(
          "E_USAGE",
          "Expected pictures or --class, with one of --relabel, --exclude and --keep; or --from FILE alone, whose lines say what to do.",
        );
      }
      const report = await correctData({ cwd: context.cwd, pictures, class: name, verdict, from, by, signal: context.signal });
      context.output({ json }).result(report, describeCorrections(report));
    });
}

function readVerdict({ relabel, exclude, keep, why }: Pick<CorrectFlags, "relabel" | "exclude" | "keep" | "why">): Verdict | undefined {
  if (relabel !== undefined) return { action: "relabel", label: relabel, why };
  if (exclude === true) return { action: "exclude", why };
  return keep === true ? { action: "keep", why } : undefined;
}
