/** The model that is meant where none is named, among registered ones and among several released ones: model.name of params.yaml. */
export async function defaultModelName(cwd: string): Promise<string> {
  // Schemas take a third of a second to load: going back to another version must not wait for them where the name is given.
  const { loadParams } = await import("../config/params.ts");
  return (await loadParams(cwd)).model.name;
}
