/** Which of many rows of the same height are worth having, and how much room the others need; pure. */

/** Rows from `first` up to, without, `end`. */
export interface Span {
  first: number;
  end: number;
}

/** Beyond each edge, so that scrolling by a little finds rows that are there. */
const BEYOND = 6;

/** `top` is how far the first row lies above the upper edge of what is seen, `height` how much is seen. */
export function spanOf(top: number, height: number, rowPx: number, count: number): Span {
  const first = Math.max(0, Math.floor(top / rowPx) - BEYOND);
  const end = Math.min(count, Math.ceil((top + height) / rowPx) + BEYOND);
  return first < end ? { first, end } : { first: Math.min(first, count), end: Math.min(first, count) };
}

/** Where to scroll to, so that a row is seen with no more movement than needed. */
export function scrolledTo(
  index: number,
  rowPx: number,
  from: number,
  height: number,
  headPx: number,
): number {
  const top = index * rowPx;
  if (top < from) return top;
  const bottom = top + rowPx + headPx;
  return bottom > from + height ? bottom - height : from;
}
