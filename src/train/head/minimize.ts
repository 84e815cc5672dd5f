/** A smooth function and its gradient at a point. */
export interface Evaluation {
  readonly value: number;
  readonly gradient: Float64Array;
}

export interface MinimizeOptions {
  readonly maxIterations: number;
  /** Ends where the largest component of the gradient is below this. */
  readonly gradientTolerance: number;
  /** Ends where an iteration lowers the value by less than this share of it. */
  readonly valueTolerance: number;
}

export interface Minimum {
  readonly point: Float64Array;
  readonly value: number;
  readonly iterations: number;
  /** False where maxIterations came first. */
  readonly converged: boolean;
}

/** Steps that the curvature is estimated from. */
const memory = 12;
/** Armijo's and Wolfe's constants, as Nocedal and Wright 2006, chapter 3, use them for quasi-Newton methods. */
const [sufficientDecrease, curvature] = [1e-4, 0.9];
const maxBisections = 30;

interface Step {
  readonly s: Float64Array;
  readonly y: Float64Array;
  readonly rho: number;
}

/**
 * The minimum of a convex function, by L-BFGS (Liu and Nocedal 1989, doi:10.1007/BF01589116) with a line search by bisection for the
 * weak Wolfe conditions (Lewis and Overton 2013, doi:10.1007/s10107-012-0514-2).
 */
export async function minimize(
  evaluate: (point: Float64Array) => Promise<Evaluation>,
  start: Float64Array,
  { maxIterations, gradientTolerance, valueTolerance }: MinimizeOptions,
): Promise<Minimum> {
  let point: Float64Array = Float64Array.from(start);
  let { value, gradient }: Evaluation = await evaluate(point);
  const steps: Step[] = [];
  for (let iteration = 0; iteration < maxIterations; iteration++) {
    if (largest(gradient) < gradientTolerance) return { point, value, iterations: iteration, converged: true };
    let direction = descentDirection(gradient, steps);
    if (dot(direction, gradient) >= 0) {
      // Rounding spoilt the curvature: begin again with the steepest descent.
      steps.length = 0;
      direction = gradient.map((component) => -component);
    }
    const first = steps.length === 0 ? Math.min(1, 1 / norm(gradient)) : 1;
    const next = await searchLine(evaluate, { point, value, gradient, direction, first });
    // No lower point along the line: what is left is rounding.
    if (next === undefined) return { point, value, iterations: iteration, converged: true };
    const s = next.point.map((component, k) => component - (point[k] as number));
    const y = next.gradient.map((component, k) => component - (gradient[k] as number));
    const product = dot(s, y);
    if (product > 1e-12 * dot(y, y)) {
      steps.push({ s, y, rho: 1 / product });
      if (steps.length > memory) steps.shift();
    }
    const gain = value - next.value;
    ({ point, value, gradient } = next);
    if (gain <= valueTolerance * Math.abs(value)) return { point, value, iterations: iteration + 1, converged: true };
  }
  return { point, value, iterations: maxIterations, converged: false };
}

/** -H times the gradient, where H is estimated from the latest steps (the two-loop recursion). */
function descentDirection(gradient: Float64Array, steps: readonly Step[]): Float64Array {
  const direction = gradient.map((component) => -component);
  const alphas: number[] = [];
  for (const { s, y, rho } of steps.toReversed()) {
    const alpha = rho * dot(s, direction);
    alphas.unshift(alpha);
    addScaled(direction, y, -alpha);
  }
  const last = steps.at(-1);
  if (last) {
    const scale = dot(last.s, last.y) / dot(last.y, last.y);
    for (let k = 0; k < direction.length; k++) direction[k] = (direction[k] as number) * scale;
  }
  steps.forEach(({ s, y, rho }, index) => addScaled(direction, s, (alphas[index] as number) - rho * dot(y, direction)));
  return direction;
}

interface Line {
  readonly point: Float64Array;
  readonly value: number;
  readonly gradient: Float64Array;
  readonly direction: Float64Array;
  /** Length of the first step that is tried. */
  readonly first: number;
}

async function searchLine(
  evaluate: (point: Float64Array) => Promise<Evaluation>,
  { point, value, gradient, direction, first }: Line,
): Promise<(Evaluation & { readonly point: Float64Array }) | undefined> {
  const slope = dot(direction, gradient);
  let [low, high, length] = [0, Infinity, first];
  let found: (Evaluation & { readonly point: Float64Array }) | undefined;
  for (let attempt = 0; attempt < maxBisections; attempt++) {
    const tried = point.map((component, k) => component + length * (direction[k] as number));
    const result = await evaluate(tried);
    if (!(result.value <= value + sufficientDecrease * length * slope)) high = length;
    else {
      found = { ...result, point: tried };
      if (dot(result.gradient, direction) >= curvature * slope) return found;
      low = length;
    }
    length = high === Infinity ? 2 * low : (low + high) / 2;
  }
  return found;
}

function dot(a: Float64Array, b: Float64Array): number {
  let sum = 0;
  for (let k = 0; k < a.length; k++) sum += (a[k] as number) * (b[k] as number);
  return sum;
}

function addScaled(target: Float64Array, source: Float64Array, factor: number): void {
  for (let k = 0; k < target.length; k++) target[k] = (target[k] as number) + factor * (source[k] as number);
}

function norm(a: Float64Array): number {
  return Math.sqrt(dot(a, a));
}

function largest(a: Float64Array): number {
  return a.reduce((most, component) => Math.max(most, Math.abs(component)), 0);
}
