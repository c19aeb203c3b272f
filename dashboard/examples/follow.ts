/** Follows the candles of a symbol from anywhere that has fetch and WebSocket: prints those that have closed, and what was healed. */

import { History, isInterval, Series, Stream } from "../src/library";

const [server = "http://127.0.0.1:8000", symbol = "AAPL", asked = "1m"] = process.argv.slice(2);
const interval = isInterval(asked) ? asked : "1m";

const stream = new Stream({ url: `${server.replace(/^http/, "ws")}/v1/stream` });
const series = new Series(symbol, interval, stream, new History(server), { changed: print, state: print });
let printed = 0;

function print(): void {
  if (series.error) console.error(series.error.message);
  // Until history and live messages are joined, something may be missing between them.
  if (series.state !== "joined") return;
  for (const row of series.book.rows.filter(({ final, time }) => final && time > printed)) {
    console.log(JSON.stringify(row));
    printed = row.time;
  }
}

stream.on((event) => {
  if (event.kind === "phase") console.error(event.phase, event.reason);
  if (event.kind === "resumed") console.error(`${event.replayed} replayed, ${event.missed} missed`);
});
stream.connect();
