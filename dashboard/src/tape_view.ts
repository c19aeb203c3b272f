/** Shows the selected symbol's quote and its newest trades, each of them, drawn once a frame. */

import type { Board } from "./board";
import { h, setAttribute, setText, the } from "./dom";
import { decimalsOf, NONE, preciseTime, price, size } from "./format";
import type { Frame } from "./frame";
import { persistently } from "./history";
import type { History } from "./history";
import type { Message, Topic } from "./messages";
import type { Stream, StreamEvent } from "./stream";
import { Tape } from "./tape";
import type { Entry } from "./tape";

const ASKED = 100;
export const ROW_PX = 22;
const ROWS_MOST = 60;

export class TapeView {
  #tape = new Tape();
  #topics: Topic[] = [];
  #symbol: string | null = null;
  #run = new AbortController();
  #body = the<HTMLTableSectionElement>("prints");
  #fits = 8;

  constructor(
    private readonly stream: Stream,
    private readonly history: History,
    private readonly board: Board,
    private readonly frame: Frame,
    private readonly zone: () => string,
  ) {
    stream.on((event) => this.#take(event));
    const box = this.#body.closest<HTMLElement>(".prints")!;
    new ResizeObserver(() => {
      const room = box.clientHeight - this.#body.offsetTop;
      this.#fits = Math.min(Math.max(Math.floor(room / ROW_PX), 1), ROWS_MOST);
      this.frame.want(this.#draw);
    }).observe(box);
  }

  /** How many trades there is room for. */
  get count(): number {
    return this.#fits;
  }

  show(symbol: string): void {
    if (symbol === this.#symbol) return;
    const before = this.#topics;
    this.#symbol = symbol;
    this.#topics = [
      { channel: "trades", symbol },
      { channel: "quotes", symbol },
    ];
    this.#tape.clear();
    for (const topic of this.#topics) this.stream.subscribe(topic);
    for (const topic of before) this.stream.unsubscribe(topic);
    void this.#read();
    this.touch();
  }

  /** Something that is drawn here has changed. */
  touch(): void {
    this.frame.want(this.#draw);
  }

  #take(event: StreamEvent): void {
    if (event.kind === "joined" && event.topic.channel === "trades" && event.topic.symbol === this.#symbol) {
      if (event.position.seq !== this.#tape.newest) void this.#read();
    } else if (event.kind === "message") {
      this.#message(event.message);
    }
  }

  #message(message: Message): void {
    if (!("symbol" in message) || message.symbol !== this.#symbol) return;
    if (message.type === "trade") this.#tape.add([message]);
    else if (message.type === "gap" && message.channel === "trades") this.#tape.miss(message);
    else if (message.type === "reset" && message.channel === "trades") this.#reset(message.seq);
    else return;
    this.touch();
  }

  /** Trades above the number are withdrawn, and what follows them may have come already. */
  #reset(seq: number): void {
    this.#tape.withdraw(seq);
    void this.#read();
  }

  async #read(): Promise<void> {
    this.#run.abort();
    const run = new AbortController();
    this.#run = run;
    const symbol = this.#symbol!;
    try {
      const ask = () => this.history.trades(symbol, { limit: ASKED }, run.signal);
      const page = await persistently(ask, run.signal, () => undefined);
      if (run.signal.aborted) return;
      this.#tape.add(page.trades);
      this.touch();
    } catch {
      // An unknown symbol has no tape; the chart says what is wrong.
    }
  }

  #draw = (): void => {
    const line = this.#symbol === null ? undefined : this.board.line(this.#symbol);
    const decimals = decimalsOf(line?.meta?.tick_size);
    this.#drawQuote(decimals);
    const entries = this.#tape.entries(this.#fits);
    while (this.#body.rows.length > entries.length) this.#body.deleteRow(-1);
    while (this.#body.rows.length < entries.length) this.#body.append(h("tr", {}, h("td"), h("td"), h("td")));
    const zone = this.zone();
    entries.forEach((entry, at) => drawEntry(this.#body.rows[at]!, entry, decimals, zone));
  };

  #drawQuote(decimals: number): void {
    const line = this.#symbol === null ? undefined : this.board.line(this.#symbol);
    const [bid, ask] = [line?.bid ?? null, line?.ask ?? null];
    const [bidSize, askSize] = [line?.bidSize ?? 0, line?.askSize ?? 0];
    setText(the("bid"), price(bid, decimals));
    setText(the("ask"), price(ask, decimals));
    setText(the("bid-size"), bid === null ? "" : `× ${size(bidSize)}`);
    setText(the("ask-size"), ask === null ? "" : `× ${size(askSize)}`);
    setText(the("spread"), spread(bid, ask, decimals));
    const both = bidSize + askSize;
    the("balance").style.width = `${both ? (100 * bidSize) / both : 50}%`;
  }
}

function drawEntry(row: HTMLTableRowElement, entry: Entry, decimals: number, zone: string): void {
  const [time, cost, amount] = row.cells as unknown as [HTMLElement, HTMLElement, HTMLElement];
  const print = "print" in entry ? entry.print : null;
  setAttribute(row, "class", print ? null : "missing");
  setAttribute(row, "data-seq", print ? String(print.seq) : null);
  setAttribute(row, "data-way", print && print.way !== "same" ? print.way : null);
  if (!("print" in entry)) {
    const { from, to } = entry.missing;
    setText(time, "missing");
    setText(cost, from === to ? `number ${from}` : `numbers ${from} to ${to}`);
    setText(amount, "");
    return;
  }
  setText(time, preciseTime(entry.print.time, zone));
  setText(cost, `${ARROWS[entry.print.way]}${price(entry.print.price, decimals)}`);
  setText(amount, size(entry.print.size));
}

const ARROWS = { up: "▲ ", down: "▼ ", same: "" } as const;

/** In money, and of the price: a basis point is a hundredth of a per cent. */
function spread(bid: number | null, ask: number | null, decimals: number): string {
  if (bid === null || ask === null) return NONE;
  const points = (10_000 * (ask - bid)) / ((ask + bid) / 2);
  return `${price(ask - bid, decimals)} (${points.toFixed(1)} bp)`;
}
