import { expect, test } from "vitest";
import { scrolledTo, spanOf } from "../src/virtual";

test("only rows near what is seen are worth having", () => {
  expect(spanOf(0, 400, 40, 500)).toEqual({ first: 0, end: 16 });
  expect(spanOf(4_000, 400, 40, 500)).toEqual({ first: 94, end: 116 });
  expect(spanOf(19_600, 400, 40, 500)).toEqual({ first: 484, end: 500 });
});

test("a list that is out of sight, short or empty has few or none", () => {
  expect(spanOf(-900, 400, 40, 500)).toEqual({ first: 0, end: 0 });
  expect(spanOf(50_000, 400, 40, 500)).toEqual({ first: 500, end: 500 });
  expect(spanOf(0, 400, 40, 3)).toEqual({ first: 0, end: 3 });
  expect(spanOf(0, 400, 40, 0)).toEqual({ first: 0, end: 0 });
});

test("a row is brought into sight with no more movement than needed", () => {
  expect(scrolledTo(10, 40, 200, 400, 30)).toBe(200);
  expect(scrolledTo(2, 40, 200, 400, 30)).toBe(80);
  expect(scrolledTo(20, 40, 200, 400, 30)).toBe(470);
});
