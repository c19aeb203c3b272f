import { expect, test } from "vitest";
import { snippets } from "../src/reference";
import type { Screen } from "../src/reference";

const SCREEN: Screen = {
  origin: "http://127.0.0.1:8000",
  ...{ symbol: "AAPL", interval: "5m", compare: [], count: 120, range: null },
  ...{ tape: 50, watchlist: ["AAPL", "BRK.B"] },
};
const code = (screen: Screen, title: string) => snippets(screen).find((each) => each.title === title)!.code;

test("the newest candles are asked for with the forming one", () => {
  const { curl, JavaScript, Python } = code(SCREEN, "Candles of AAPL, as shown");
  const url = "http://127.0.0.1:8000/v1/candles/AAPL?interval=5m&limit=120&forming=true";
  expect(curl).toBe(`curl '${url}'`);
  expect(JavaScript).toContain(`fetch("${url}")`);
  expect(Python).toContain('for row in await market.candles("AAPL", "5m", limit=120, forming=True):\n');
});

test("candles further back are asked for by their range", () => {
  const { curl, Python } = code(
    { ...SCREEN, range: { from: 1_763_985_600_000_000, to: 1_763_985_900_000_000 } },
    "Candles of AAPL, as shown",
  );
  const range = "start=1763985600000000&end=1763985900000000";
  expect(curl).toContain(`?interval=5m&${range}&limit=10000'`);
  expect(Python).toContain('"5m", start=1763985600000000, end=1763985900000000)');
});

test("live messages come by a subscription in the address", () => {
  const { curl, JavaScript, Python } = code({ ...SCREEN, compare: ["MSFT"] }, "Candles of AAPL,MSFT, live");
  const url = "ws://127.0.0.1:8000/v1/stream?channel=candles&interval=5m&symbols=AAPL,MSFT";
  expect(curl).toBe(`curl -N '${url}'`);
  expect(JavaScript).toContain(`new WebSocket("${url}")`);
  expect(Python).toContain('async for event in market.subscribe("candles", ["AAPL", "MSFT"], "5m"):');
});

test("a compared symbol has candles of its own, an empty watchlist nothing", () => {
  const titles = (screen: Screen) => snippets(screen).map(({ title }) => title);
  expect(titles({ ...SCREEN, compare: ["MSFT"] })).toContain("Candles of MSFT, as shown");
  expect(titles({ ...SCREEN, watchlist: [] }).filter((title) => title.includes("watchlist"))).toEqual([]);
});

test("the watchlist is told of the newest only", () => {
  expect(code(SCREEN, "The watchlist's last prices, live").curl).toContain(
    "channel=trades&symbols=AAPL,BRK.B&deliver=latest&every_ms=16",
  );
  expect(code(SCREEN, "The watchlist").Python).toContain('market.snapshots(["AAPL", "BRK.B"])');
});

test("over https the WebSocket is encrypted too", () => {
  const secure = { ...SCREEN, origin: "https://ticker.example.com" };
  expect(code(secure, "Every trade of AAPL, live").curl).toContain("'wss://ticker.example.com/v1/stream?");
});
