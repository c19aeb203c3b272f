import { expect, test, vi } from "vitest";
import { DIGITS, HELP, press } from "../src/keys";
import type { Keys } from "../src/keys";
import { INTERVALS } from "../src/messages";

test("every key does its own thing", () => {
  const keys = new Proxy({} as Record<string, ReturnType<typeof vi.fn>>, {
    get: (made, name: string) => (made[name] ??= vi.fn()),
  });
  const pressed = (key: string, shiftKey = false) => press({ key, shiftKey }, keys as unknown as Keys);
  expect(
    ["ArrowUp", "ArrowDown", "ArrowLeft", "/", "?", "5", "End", "+", "Escape"].every((key) => pressed(key)),
  ).toBe(true);
  pressed("ArrowRight", true);
  expect(keys.neighbour!.mock.calls).toEqual([[-1], [1]]);
  expect(keys.step!.mock.calls).toEqual([[-1], [10]]);
  expect(keys.interval!.mock.calls).toEqual([["15m"]]);
  for (const name of ["search", "help", "newest", "zoom", "escape"])
    expect(keys[name]).toHaveBeenCalledOnce();
  expect(["a", "0", "Enter", "Tab"].some((key) => pressed(key))).toBe(false);
});

test("1 to 9 are intervals, in order, and the help lists them", () => {
  const chosen = Object.values(DIGITS);
  expect(chosen).toHaveLength(9);
  expect(chosen).toEqual(INTERVALS.filter((interval) => chosen.includes(interval)));
  expect(HELP.some(([, what]) => what === chosen.join(", "))).toBe(true);
});
