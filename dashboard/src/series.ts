/** One symbol and interval on the chart: keeps its candles complete through scrolling, lost connections and new epochs. */

import { CandleBook, joins } from "./candles";
import { persistently } from "./history";
import type { CandlePage, History, HistoryError } from "./history";
import type { CandleMessage, Interval, Message, Position, Topic, TradeMessage } from "./messages";
import type { Stream, StreamEvent } from "./stream";

const FIRST_PAGE = 600;
const OLDER_PAGE = 2_000;
const ROWS_MAX = 30_000;
const ROWS_KEPT = 20_000;
/** A hole that is wider than this many pages is not worth filling: the chart begins anew. */
const HOLE_PAGES = 10;
/** A series without a past is looked at again so long after it was joined. */
const LOOK_BACK_MS = [2_000, 5_000, 10_000, 20_000, 60_000];
const STALE_ROWS_MS = 150;

export type SeriesState = "loading" | "joined" | "filling";

export interface SeriesEvents {
  changed: () => void;
  /** Something about loading has changed. */
  state: () => void;
}

export class Series {
  readonly book: CandleBook;
  state: SeriesState = "loading";
  /** The first answer has come, and be it an empty one. */
  loaded = false;
  loadingOlder = false;
  error: HistoryError | null = null;
  #candles: Topic;
  #trades: Topic;
  #lookBacks: ReturnType<typeof setTimeout>[] = [];
  #page: CandlePage | null = null;
  /** Where older candles are asked for: behind a page, or before the oldest row. */
  #older: { cursor: string } | { end: number } | null = null;
  #held: (CandleMessage | TradeMessage)[] = [];
  /** What the messages since then, all held or applied, follow; null without a subscription. */
  #live: Position | null;
  #epoch: string | null = null;
  /** The connection was lost after all was joined: where nothing is missing, what is here goes on. */
  #resumable = false;
  #run = new AbortController();
  #fill: AbortController | null = null;
  #off: () => void;

  constructor(
    readonly symbol: string,
    readonly interval: Interval,
    private readonly stream: Stream,
    private readonly history: History,
    private readonly events: SeriesEvents,
    /** Without each trade the forming candle moves when the service sends it, some times a second. */
    private readonly everyTrade = true,
  ) {
    this.book = new CandleBook(interval);
    this.#candles = { channel: "candles", interval, symbol };
    this.#trades = { channel: "trades", symbol };
    this.#off = stream.on((event) => this.#take(event));
    // The watchlist may have this topic already: then no `joined` comes.
    this.#live = copied(stream.position(this.#candles));
    if (everyTrade) stream.subscribe(this.#trades);
    stream.subscribe(this.#candles);
    void this.#load(true);
  }

  get hasOlder(): boolean {
    return this.#older !== null;
  }

  /** A page that is open for days must not grow for days: what was scrolled away can be fetched again. */
  trim(): void {
    const { rows } = this.book;
    if (rows.length > ROWS_MAX && !this.loadingOlder && this.book.keepNewest(ROWS_KEPT)) {
      this.#older = { end: rows[0]!.time };
      this.events.changed();
    }
  }

  close(): void {
    this.#run.abort();
    this.#fill?.abort();
    for (const timer of this.#lookBacks) clearTimeout(timer);
    this.#off();
    this.stream.unsubscribe(this.#candles);
    if (this.everyTrade) this.stream.unsubscribe(this.#trades);
  }

  /** Look whether there are older candles by now: a young service may still be storing its history. */
  lookBack(): void {
    const oldest = this.book.rows[0];
    if (this.#older || !oldest) return;
    this.#older = { end: oldest.time };
    void this.loadOlder();
  }

  /** Fetch the page before the oldest candle, unless that is under way. */
  async loadOlder(): Promise<void> {
    const older = this.#older;
    if (this.loadingOlder || !older || !this.book.rows.length) return;
    this.loadingOlder = true;
    this.events.state();
    const { signal } = this.#run;
    try {
      const ask = () =>
        this.history.candles(this.symbol, this.interval, { limit: OLDER_PAGE, ...older }, signal);
      const page = await persistently(ask, signal, () => this.events.state());
      // Another fill may have begun the series anew meanwhile; its own cursor leads on then.
      if (older === this.#older) {
        this.book.prepend(page.candles);
        this.#older = behind(page);
        this.events.changed();
      }
    } catch (error) {
      if (signal.aborted) return;
      this.error = error as HistoryError;
    }
    this.loadingOlder = false;
    this.events.state();
  }

  #take(event: StreamEvent): void {
    if (event.kind === "phase" && event.phase === "offline") {
      this.#live = null;
      if (this.state !== "joined") return;
      this.#page = null;
      this.#resumable = true;
      this.#setState("filling");
    } else if (event.kind === "joined" && isSame(event.topic, this.#candles)) {
      this.#onJoined(event.position, event.recovered);
    } else if (event.kind === "message") {
      this.#onMessage(event.message);
    }
  }

  #onJoined(live: Position, recovered: boolean): void {
    const goesOn = this.#resumable && recovered;
    this.#resumable = false;
    this.#live = copied(live);
    if (goesOn) {
      // An epoch may have ended meanwhile; its numbers are still true up to here, and the new one's follow.
      this.#epoch = live.epoch;
      this.#release();
      return;
    }
    this.#held = [];
    if (this.#page && joins(this.#page.position, live)) this.#finish();
    else if (this.#page || !this.#fill) void this.#load(this.#epoch === null || this.#epoch === live.epoch);
  }

  #onMessage(message: Message): void {
    if (message.type === "candle" && message.symbol === this.symbol && message.interval === this.interval) {
      this.#arrived(message);
    } else if (message.type === "trade" && message.symbol === this.symbol && !message.snapshot) {
      this.#arrived(message);
    } else if ((message.type === "reset" || message.type === "gap") && this.#concerns(message)) {
      // After a reset numbers mean something else, so nothing that was loaded before can be joined to what follows.
      this.#page = null;
      this.#resumable = false;
      this.#setState("filling");
      if (message.type === "reset") {
        this.#held = [];
        this.#live = { epoch: message.epoch, seq: message.seq };
      }
      void this.#load(message.type === "gap");
    }
  }

  #concerns(message: { channel: string; symbol: string }): boolean {
    return message.symbol === this.symbol && message.channel !== "quotes";
  }

  #arrived(message: CandleMessage | TradeMessage): void {
    if (this.state !== "joined") {
      this.#held.push(message);
      return;
    }
    this.#apply(message);
    this.events.changed();
  }

  #apply(message: CandleMessage | TradeMessage): void {
    if (message.type === "candle") this.book.live(message);
    else this.book.trade(message);
  }

  /** Fetch the newest rows until live messages follow them without a hole. */
  async #load(keep: boolean): Promise<void> {
    this.#fill?.abort();
    const fill = new AbortController();
    this.#fill = fill;
    const { signal } = fill;
    const retrying = (error: HistoryError) => {
      this.error = error;
      this.events.state();
    };
    try {
      for (;;) {
        const page = await this.#fetchNewest(keep, signal, retrying);
        signal.throwIfAborted();
        this.error = null;
        this.book.begin(page.candles, page.position, keep);
        if (!keep || this.book.rows.length === page.candles.length) this.#older = behind(page);
        this.#page = page;
        this.loaded = true;
        this.events.changed();
        // Rows without live messages are shown at once; `joined` goes on from here.
        if (!this.#live) break;
        if (joins(page.position, this.#live)) {
          this.#finish();
          break;
        }
        await new Promise((resolve) => setTimeout(resolve, STALE_ROWS_MS));
        signal.throwIfAborted();
      }
    } catch (error) {
      if (signal.aborted) return;
      this.error = error as HistoryError;
    }
    if (this.#fill === fill) this.#fill = null;
    this.events.state();
  }

  /** The newest page, with as many before it as reach what is here already. */
  async #fetchNewest(
    keep: boolean,
    signal: AbortSignal,
    retrying: (error: HistoryError) => void,
  ): Promise<CandlePage> {
    const ask = (limit: number, cursor: string | null) =>
      persistently(
        () => this.history.candles(this.symbol, this.interval, { limit, cursor }, signal),
        signal,
        retrying,
      );
    const newest = await ask(FIRST_PAGE, null);
    let { candles, next } = newest;
    for (let pages = 1; keep && next && !this.book.reaches(candles) && pages < HOLE_PAGES; pages += 1) {
      const page = await ask(OLDER_PAGE, next);
      candles = [...page.candles, ...candles];
      next = page.next;
    }
    return { candles, next, position: newest.position };
  }

  /** Live messages follow what is here: those that were held come first. */
  #release(): void {
    const held = this.#held;
    this.#held = [];
    this.#setState("joined");
    for (const message of held) this.#apply(message);
    this.events.changed();
  }

  #finish(): void {
    this.#epoch = this.#page?.position?.epoch ?? null;
    this.#release();
    if (!this.#older && !this.#lookBacks.length) {
      this.#lookBacks = LOOK_BACK_MS.map((ms) => setTimeout(() => this.lookBack(), ms));
    }
  }

  #setState(state: SeriesState): void {
    if (this.state === state) return;
    this.state = state;
    this.events.state();
  }
}

function behind(page: CandlePage): { cursor: string } | null {
  return page.next === null ? null : { cursor: page.next };
}

function isSame(topic: Topic, other: Topic): boolean {
  return (
    topic.channel === other.channel && topic.symbol === other.symbol && topic.interval === other.interval
  );
}

function copied(position: Position | undefined): Position | null {
  return position ? { ...position } : null;
}
