import { expect, test } from "vitest";
import { Spark } from "../src/spark";
import { candle, MINUTE, NOON } from "./fakes";

const quarter = (number: number, close: number) => candle(15 * number, close);
const prices = (spark: Spark) => spark.points.map(({ price }) => price);

test("history is drawn across the box, with the previous close as its base", () => {
  const spark = new Spark();
  spark.begin([quarter(0, 100), quarter(95, 110)]);
  expect(spark.draw(95, 22, 105)).toEqual({ path: "M0.0 21.0L95.0 1.0", base: 11, way: "up" });
  expect(spark.draw(95, 22, 120)).toMatchObject({ base: null, way: "down" });
  expect(spark.draw(95, 22, null)).toMatchObject({ base: null, way: null });
});

test("a gap is drawn as long as it was, and what never moved in the middle", () => {
  const spark = new Spark();
  spark.begin([quarter(48, 100), quarter(95, 100)]);
  expect(spark.draw(95, 22, null)!.path).toBe("M48.0 11.0L95.0 11.0");
});

test("a live price moves the end, and begins a new one each quarter of an hour", () => {
  const spark = new Spark();
  spark.begin([quarter(0, 100), quarter(1, 101)]);
  spark.price(105, NOON + 29 * MINUTE);
  expect(prices(spark)).toEqual([100, 105]);
  spark.price(106, NOON + 31 * MINUTE);
  expect(prices(spark)).toEqual([100, 105, 106]);
  spark.begin([quarter(0, 100), quarter(1, 104)]);
  expect(prices(spark)).toEqual([100, 104, 106]);
});

test("it keeps a day, however long the page is open", () => {
  const spark = new Spark();
  spark.begin([quarter(0, 100)]);
  for (let number = 1; number < 500; number += 1) spark.price(number, NOON + 15 * number * MINUTE);
  expect(prices(spark)).toHaveLength(96);
});

test("the price of a recording does not move on to now", () => {
  const spark = new Spark();
  spark.begin([quarter(0, 100), quarter(1, 101)]);
  spark.price(102, NOON + 3 * 24 * 60 * MINUTE);
  expect(prices(spark)).toEqual([100, 102]);
});

test("one price is no line, and none is none", () => {
  const spark = new Spark();
  spark.price(5, NOON);
  expect(spark.draw(10, 10, 1)).toBeNull();
  spark.begin([quarter(0, 1)]);
  expect(spark.draw(10, 10, 1)).toBeNull();
});
