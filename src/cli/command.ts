import type { Command } from "commander";
import type { Output } from "./output.ts";

/** What main.ts hands to a command's action. */
export interface CommandContext {
  /** The working repository: where params.yaml, data/, artifacts/ and .serval/ lie. */
  readonly cwd: string;
  /** Aborted by Ctrl-C or SIGTERM, unless those end the verb at once (VERBS in main.ts). */
  readonly signal: AbortSignal;
  /** Made for one run of a command; pass its --json flag. */
  output(options?: { json?: boolean | undefined }): Output;
}

/** One file in commands/: adds arguments, options and the action to the verb that main.ts created. */
export type Configure = (command: Command, context: CommandContext) => void;
