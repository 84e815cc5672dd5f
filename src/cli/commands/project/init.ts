import { join, resolve } from "node:path";
import { defaultImages, initProject, isRemote, type InitResult } from "../../../workflows/project/init-project.ts";
import type { Configure } from "../../command.ts";

export const configure: Configure = (command, context) => {
  command
    .argument("[DIR]", "folder to set up", ".")
    .option("--images <SOURCE>", "folder with one folder per class, zip, URL, `preset:NAME` or `sample` (default: found, else images/)")
    .option("--name <NAME>", "name of the model (default: the folder's name)")
    .option("--json", "print the result as JSON")
    .action(async (dir: string, options: { images?: string; name?: string; json?: boolean }) => {
      const images = options.images === undefined || isRemote(options.images) ? options.images : resolve(context.cwd, options.images);
      const result = await initProject({ dir: resolve(context.cwd, dir), images, name: options.name });
      context.output(options).result(result, describe(result, dir));
    });
};

function describe({ created, kept, source, found }: InitResult, dir: string): string {
  const lines = [
    ...created.map((file) => `wrote ${join(dir, file)}`),
    ...kept.map((file) => `left ${join(dir, file)} alone: it exists already`),
    "",
    "Next:",
  ];
  if (dir !== ".") lines.push(`  cd ${dir}`);
  if (source === defaultImages && !found)
    lines.push(`  make one folder for each class, and put its images there: ${join(source, "CLASS")}`);
  lines.push("  npx serval data import", "  npx serval prepare", "  npx serval train", "  npx serval serve");
  return lines.join("\n");
}
