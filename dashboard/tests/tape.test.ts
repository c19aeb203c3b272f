import { expect, test } from "vitest";
import { Tape } from "../src/tape";
import { NOON, trade } from "./fakes";

const row = (seq: number, price = 100) => trade(price, seq, NOON + seq);
const numbers = (tape: Tape, count = 20) =>
  tape
    .entries(count)
    .map((entry) =>
      "print" in entry ? entry.print.seq : `${entry.missing.from}-${entry.missing.to} missing`,
    );

test("history and live trades come together, each number once, the newest first", () => {
  const tape = new Tape();
  tape.add([row(7)]);
  tape.add([row(8)]);
  tape.add([row(4), row(5), row(6), row(7)]);
  tape.add([row(9)]);
  tape.add([row(8)]);
  expect(numbers(tape)).toEqual([9, 8, 7, 6, 5, 4]);
  expect(numbers(tape, 2)).toEqual([9, 8]);
  expect(tape.newest).toBe(9);
});

test("a trade is up or down against the one before", () => {
  const tape = new Tape();
  tape.add([row(1, 10), row(2, 11), row(3, 11), row(4, 9)]);
  expect(tape.entries(4).map((entry) => "print" in entry && entry.print.way)).toEqual([
    ...["down", "same", "up", "same"],
  ]);
});

test("what is missing stands where it is missing", () => {
  const tape = new Tape();
  tape.add([row(3), row(4)]);
  tape.miss({ from: 5, to: 9 });
  tape.add([row(10)]);
  expect(numbers(tape)).toEqual([10, "5-9 missing", 4, 3]);
});

test("trades that are withdrawn are gone, and their numbers may come again", () => {
  const tape = new Tape();
  tape.add([row(1, 10), row(2, 11), row(3, 12)]);
  tape.withdraw(1);
  tape.add([row(2, 50)]);
  expect(tape.entries(5).map((entry) => "print" in entry && entry.print.price)).toEqual([50, 10]);
  tape.clear();
  expect(tape.entries(5)).toEqual([]);
});

test("an open tape does not grow for ever", () => {
  const tape = new Tape();
  for (let seq = 1; seq <= 5_000; seq += 1) tape.add([row(seq)]);
  const kept = tape.entries(10_000);
  expect(kept.length).toBeLessThanOrEqual(400);
  expect(numbers(tape, 1)).toEqual([5_000]);
});
