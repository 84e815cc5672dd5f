import { toText } from "./interpolate.ts";
import { isList, isYamlMap, type YamlMap, type YamlValue } from "./yaml-values.ts";

/** What `item`, and of a mapping `key`, are in the stages of a `foreach`, by the keys in their names. */
export function iterations(values: readonly YamlValue[] | YamlMap): Map<string, YamlMap> {
  if (isYamlMap(values))
    return new Map(
      Array.from(values, ([key, item]) => [
        key,
        new Map<string, YamlValue>([
          ["item", item],
          ["key", key],
        ]),
      ]),
    );
  // As in DVC: where any value is a list or a mapping they are counted, else each is its own name.
  const counted = values.some(isCollection);
  return new Map(values.map((item, i) => [counted ? String(i) : (toText(item, false) ?? ""), new Map([["item", item]])]));
}

/** What `item` and `key` are in the stages of a `matrix`: one for each combination, whose last list changes fastest. */
export function combinations(axes: readonly (readonly [string, readonly YamlValue[]])[]): Map<string, YamlMap> {
  let found: { readonly names: readonly string[]; readonly item: YamlMap }[] = [{ names: [], item: new Map() }];
  for (const [axis, values] of axes) {
    found = found.flatMap(({ names, item }) =>
      values.map((value, i) => ({
        names: [...names, isCollection(value) ? `${axis}${i}` : (toText(value, false) ?? "")],
        item: new Map([...item, [axis, value]]),
      })),
    );
  }
  return new Map(
    found.map(({ names, item }) => [
      names.join("-"),
      new Map<string, YamlValue>([
        ["item", item],
        ["key", names.join("-")],
      ]),
    ]),
  );
}

function isCollection(value: YamlValue): boolean {
  return isList(value) || isYamlMap(value);
}
