/**
 * The parts of this page that other pages and programs may build on: one live connection, history, and the two joined.
 *
 * - `Stream` keeps one WebSocket: it connects again by itself, goes on from where each topic stood, and says what was
 *   replayed and what is missing. Topics are counted: what two parts want is asked for once.
 * - `History` asks over REST. `persistently` asks again as long as that may help.
 * - `Series` joins both: the candles of one symbol, complete and current, through lost connections, corrections and new epochs.
 *
 * None of it knows a document; `tsconfig.library.json` lets nothing in that does. `examples/follow.ts` shows it in use.
 */

export { CandleBook, joins, width } from "./candles";
export type { Changes, Row } from "./candles";
export { History, HistoryError, persistently } from "./history";
export type { CandlePage, Metadata, Snapshot, TradePage } from "./history";
export { INTERVALS, isInterval, parse, topicKey } from "./messages";
export type * from "./messages";
export { Series } from "./series";
export type { SeriesEvents, SeriesState } from "./series";
export { Stream } from "./stream";
export type { Phase, Socket, StreamEvent, StreamOptions } from "./stream";
export type { Deliver } from "./subscriptions";
export { Tape } from "./tape";
