import { existsSync } from "node:fs";
import { dirname, join } from "node:path";

const venvPython = join(import.meta.dirname, "../../.venv/bin/python");

/** The Python that has tests/interop/requirements.txt installed. */
export const python: string = process.env["SERVAL_TEST_PYTHON"] ?? (existsSync(venvPython) ? venvPython : "python3");

/** A program that the same Python environment brought. */
export function pythonProgram(name: string): string {
  return python.includes("/") ? join(dirname(python), name) : name;
}
