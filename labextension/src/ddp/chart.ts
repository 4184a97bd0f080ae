/**
 * Where the points of a line chart are. Pure.
 *
 * Guarantees: any numbers give finite coordinates within the frame; what is no number makes a gap in the line.
 */
export const WIDTH = 320;
export const HEIGHT = 120;

/** x and y; a y that is no number (text, null) is not drawn. */
export type Point = readonly [number, number | string | null];

export interface Line {
  points: readonly Point[];
}

export interface Frame {
  left: number;
  right: number;
  bottom: number;
  top: number;
}

/** The range of some series together, never empty in either direction; null where there is nothing to draw. */
export function frameOf(series: readonly Line[]): Frame | null {
  const drawn = series.flatMap(one => one.points.filter(isDrawn));
  if (drawn.length === 0) {
    return null;
  }
  let [left, right, bottom, top] = [Infinity, -Infinity, Infinity, -Infinity];
  for (const [x, y] of drawn) {
    [left, right] = [Math.min(left, x), Math.max(right, x)];
    [bottom, top] = [Math.min(bottom, y), Math.max(top, y)];
  }
  if (left === right) {
    right = left + 1;
  }
  if (bottom === top) {
    const room = Math.abs(bottom) * 0.05 || 1;
    [bottom, top] = [bottom - room, top + room];
  }
  return { left, right, bottom, top };
}

/** The `d` of an SVG path for one series. */
export function pathOf(series: Line, frame: Frame): string {
  let pen = 'M';
  let path = '';
  for (const point of series.points) {
    if (!isDrawn(point)) {
      pen = 'M';
      continue;
    }
    const x = scaled(point[0], frame.left, frame.right) * WIDTH;
    const y = (1 - scaled(point[1], frame.bottom, frame.top)) * HEIGHT;
    path += `${pen}${x.toFixed(1)} ${y.toFixed(1)}`;
    pen = 'L';
  }
  // a single point has no line; a round cap draws it as a dot
  return path.includes('L') || path === '' ? path : `${path}h0.01`;
}

/** A number as short as it can be read. */
export function shortNumber(value: number | string): string {
  if (typeof value === 'string') {
    return value;
  }
  const size = Math.abs(value);
  return size !== 0 && (size < 1e-3 || size >= 1e6)
    ? value.toExponential(2)
    : String(Number(value.toPrecision(4)));
}

function isDrawn(point: Point): point is readonly [number, number] {
  return typeof point[1] === 'number' && Number.isFinite(point[1]) && Number.isFinite(point[0]);
}

/** From 0 to 1, also where the difference is beyond the largest number. */
function scaled(value: number, from: number, to: number): number {
  return (value / 2 - from / 2) / (to / 2 - from / 2);
}
