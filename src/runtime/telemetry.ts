import { setNativeVariable } from "../config/env.ts";
import { ServalError } from "../errors/serval-error.ts";

const variable = "ORT_DISABLE_TELEMETRY";

/**
 * Keeps ONNX Runtime from writing an identifier of this machine and a store of events below the user's home, and from
 * sending them. It reads the variable once, at the first session of the process: so this comes before every session, and
 * before every thread that makes one. Throws E_ENGINE_TELEMETRY in a thread of a process where this was not done.
 * Source: microsoft/onnxruntime, onnxruntime/core/platform/telemetry_environment.h.
 */
export function switchOffTelemetry(): void {
  if (setNativeVariable(variable, "1")) return;
  throw new ServalError(
    "E_ENGINE_TELEMETRY",
    `ONNX Runtime would send usage data from this process: a thread asks for a model, and ${variable} is not 1.`,
  );
}
