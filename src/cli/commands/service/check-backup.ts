import { resolve } from "node:path";
import { commandEnvironment } from "../../../config/env.ts";
import { checkArchive } from "../../../deploy/backup/check-archive.ts";
import type { Configure } from "../../command.ts";

export const configure: Configure = (command, context) => {
  command
    .argument("<ARCHIVE>", "an archive of scripts/backup.sh")
    .option("--any-name", "accept names that are dangerous only elsewhere: of tools' folders (.git), of Windows' devices, with backslashes")
    .option("--json", "print the result as JSON")
    .action(async (archive: string, options: { anyName?: boolean; json?: boolean }) => {
      const rules = { anyName: options.anyName ?? false };
      const entries = await checkArchive(resolve(context.cwd, archive), { rules, env: commandEnvironment().env });
      context.output(options).result({ archive, entries }, `${archive}: all of its ${entries} entries stay in their volumes.`);
    });
};
