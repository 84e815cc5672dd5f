import { ServalError } from "../../../errors/serval-error.ts";
import { predictImages } from "../../../workflows/model/predict-images.ts";
import type { Configure } from "../../command.ts";
import { describePredictions } from "../../describe/predictions.ts";

export const configure: Configure = (command, context) => {
  command
    .argument("<IMAGE...>", "JPEG, PNG, WebP or GIF files")
    .option("--model <MODEL>", "bundle folder, its model.onnx, a released model's name, or models:/NAME@ALIAS (default: SERVAL_MODEL)")
    .option("--json", "print the result as JSON")
    .action(async (images: string[], { model, json }: { model?: string; json?: boolean }) => {
      const output = context.output({ json });
      const answers = await predictImages({ cwd: context.cwd, images, model, reporter: output, signal: context.signal });
      output.result(answers, describePredictions(answers));
      const refused = answers.filter((answer) => "error" in answer).length;
      if (refused > 0) throw new ServalError("E_FILES_REFUSED", `${refused} of ${answers.length} files could not be used.`);
    });
};
