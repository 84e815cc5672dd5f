import type { Command } from "commander";

/** What the verbs that write to the working folder share. */
export interface FollowLinkFlag {
  readonly followLink: readonly string[];
}

export function addFollowLinkFlag(command: Command): Command {
  return command.option(
    "--follow-link <LINK>",
    "write through this link to a folder, now and later (.dvc/config.local remembers it); may be repeated",
    (link: string, before: readonly string[]) => [...before, link],
    [],
  );
}
