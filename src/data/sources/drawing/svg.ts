/** Short forms of the SVG elements that the drawings consist of. Numbers are rounded: a tenth of a unit is never seen. */

export type Attributes = Readonly<Record<string, string | number | undefined>>;

export function n(value: number): string {
  return String(Math.round(value * 10) / 10);
}

export function element(name: string, attributes: Attributes, content = ""): string {
  const text = Object.entries(attributes)
    .filter(([, value]) => value !== undefined)
    .map(([key, value]) => ` ${key}="${typeof value === "number" ? n(value) : value}"`)
    .join("");
  return content === "" ? `<${name}${text}/>` : `<${name}${text}>${content}</${name}>`;
}

export function ellipse(cx: number, cy: number, rx: number, ry: number, fill: string, more: Attributes = {}): string {
  return element("ellipse", { cx, cy, rx, ry, fill, ...more });
}

export function rect(x: number, y: number, width: number, height: number, fill: string, more: Attributes = {}): string {
  return element("rect", { x, y, width, height, fill, ...more });
}

export function path(d: string, fill: string, more: Attributes = {}): string {
  return element("path", { d, fill, ...more });
}

/** A line with round ends. */
export function stroke(d: string, color: string, width: number, more: Attributes = {}): string {
  return element("path", {
    d,
    fill: "none",
    stroke: color,
    "stroke-width": width,
    "stroke-linecap": "round",
    "stroke-linejoin": "round",
    ...more,
  });
}

export function group(transform: string, content: string): string {
  return element("g", { transform }, content);
}

/** Path data with the numbers rounded: d`M ${x} ${y} h 10`. */
export function d(texts: TemplateStringsArray, ...values: readonly number[]): string {
  return texts.map((text, i) => text + (i < values.length ? n(values[i]!) : "")).join("");
}
