import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { History, HistoryError, persistently } from "../src/history";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

function answering(...answers: (Response | Error)[]) {
  const asked: string[] = [];
  const fetcher = async (address: unknown) => {
    asked.push(String(address));
    const answer = answers.shift()!;
    if (answer instanceof Error) throw answer;
    return answer;
  };
  return { history: new History("", fetcher as typeof fetch), asked };
}

const json = (body: object, status = 200) => new Response(JSON.stringify(body), { status });

test("candles are asked for with the forming one, a page at a time", async () => {
  const page = { candles: [], next: "c", position: null };
  const { history, asked } = answering(json(page), json(page));
  expect(await history.candles("BRK.B", "5m", { limit: 10 })).toMatchObject(page);
  await history.candles("A", "1d", { limit: 10, cursor: "a&b" });
  expect(asked).toEqual([
    "/v1/candles/BRK.B?interval=5m&forming=true&limit=10",
    "/v1/candles/A?interval=1d&forming=true&limit=10&cursor=a%26b",
  ]);
});

test("what went wrong is told in the service's words", async () => {
  const problem = { code: "not_found", detail: "symbol 'X' is not known" };
  const { history } = answering(
    json(problem, 404),
    new Response("<html>", { status: 502 }),
    new TypeError("network"),
  );
  const errors = [];
  for (let i = 0; i < 3; i += 1) errors.push(await history.symbol("X").catch((error: HistoryError) => error));
  expect(errors.map((error) => [(error as HistoryError).message, (error as HistoryError).passing])).toEqual([
    ["symbol 'X' is not known", false],
    ["the service answered 502 without saying why", true],
    ["the service cannot be reached", true],
  ]);
});

test("what may pass is asked for again, what may not is not", async () => {
  const again = vi.fn();
  const signal = new AbortController().signal;
  const { history, asked } = answering(
    json({ code: "unavailable", detail: "away" }, 503),
    new TypeError(),
    json({ symbol: "A" }),
  );
  const found = persistently(() => history.symbol("A"), signal, again);
  await vi.advanceTimersByTimeAsync(5_000);
  expect(await found).toEqual({ symbol: "A" });
  expect([asked.length, again.mock.calls.length]).toEqual([3, 2]);
  const refused = answering(json({ code: "bad_request", detail: "no" }, 400));
  await expect(persistently(() => refused.history.symbol("A"), signal, again)).rejects.toThrow("no");
});

test("waiting ends when nobody wants the answer any more", async () => {
  const stop = new AbortController();
  const { history } = answering(new TypeError(), new TypeError());
  const found = persistently(
    () => history.symbol("A"),
    stop.signal,
    () => stop.abort(new Error("enough")),
  );
  await expect(found).rejects.toThrow("enough");
});
