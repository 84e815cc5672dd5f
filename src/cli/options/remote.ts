import { InvalidArgumentError, type Command } from "commander";

/** What the verbs that speak to a remote share. */
export interface RemoteFlags {
  readonly remote?: string;
  readonly jobs?: number;
}

export function addRemoteFlags(command: Command): Command {
  return command
    .option("-r, --remote <NAME>", "remote of .dvc/config (default: its default one)")
    .option("-j, --jobs <N>", "requests at once (default: 4 a core, at most 16)", readJobs);
}

function readJobs(text: string): number {
  if (!/^[1-9]\d{0,2}$/.test(text)) throw new InvalidArgumentError("expected a whole number from 1 to 999.");
  return Number(text);
}
