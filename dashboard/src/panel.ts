/** What stands around the chart: the symbol's quote, the legend of a candle, and what there is to say where no candles are. */

import { derived } from "./board";
import type { Board, Line } from "./board";
import type { Row } from "./candles";
import type { Shown } from "./chart";
import { h, setAttribute, setText, the } from "./dom";
import { candleTime, decimalsOf, NONE, price, signed, volume } from "./format";
import type { Frame } from "./frame";
import type { Micros } from "./messages";
import type { Series } from "./series";

export class Panel {
  decimals = 2;
  #series: Series | null = null;
  #shown: Shown = { interval: "1m", decimals: 2, zone: "UTC", marketZone: "UTC" };
  #pointed: Micros | null = null;
  #reconfigure: () => void = () => undefined;
  #star = the("star");

  constructor(
    private readonly board: Board,
    private readonly frame: Frame,
    toggleWatched: () => void,
  ) {
    this.#star.addEventListener("click", toggleWatched);
  }

  show(series: Series, watched: boolean): void {
    this.#series = series;
    this.#pointed = null;
    this.watched(watched);
    this.decimals = decimalsOf(this.#line()?.meta?.tick_size);
    this.state(series);
    this.#drawQuote();
    this.drawLegend();
  }

  configure(shown: Shown, again: () => void): void {
    this.#shown = shown;
    this.#reconfigure = again;
    this.drawLegend();
  }

  watched(watched: boolean): void {
    this.#star.hidden = !this.#series;
    setText(this.#star, watched ? "★" : "☆");
    setAttribute(this.#star, "aria-pressed", String(watched));
    setAttribute(this.#star, "aria-label", watched ? "In the watchlist: remove" : "Add to the watchlist");
    setAttribute(this.#star, "title", watched ? "Remove from the watchlist" : "Add to the watchlist");
  }

  /** The symbol's line has changed. */
  touch(): void {
    this.frame.want(this.#drawQuote);
  }

  /** The crosshair stands on a candle. */
  point(time: Micros | null): void {
    this.#pointed = time;
    this.frame.want(this.drawLegend);
  }

  /** Loading has come further, or has failed. */
  state(series: Series): void {
    the("older").hidden = !series.loadingOlder;
    const { rows } = series.book;
    if (series.error && !rows.length) this.tell(series.error, series.error.passing);
    else if (!series.loaded)
      this.#veil(
        "loading",
        h("span", { class: "spinner", "aria-hidden": "true" }),
        h("p", {}, "Loading candles"),
      );
    else if (!rows.length)
      this.#veil(
        "quiet",
        h("p", {}, `No trade of ${series.symbol} yet.`),
        h("p", {}, "The first one begins a candle here."),
      );
    else this.#veil(null);
    setAttribute(the("chart"), "aria-busy", String(!series.loaded));
  }

  noSymbols(): void {
    const text = "Nothing is traded here yet: no feed has announced a symbol.";
    this.#veil("quiet", h("p", {}, text), h("p", {}, "This page looks again by itself."));
    the("empty").replaceChildren(h("p", {}, "No symbols yet."));
    the("empty").hidden = false;
  }

  /** What went wrong; null where nothing did. */
  tell(error: Error | null, passing = true): void {
    if (!error) {
      this.#veil(null);
      return;
    }
    const text = error.message;
    const more = passing ? "Trying again." : "Search for another symbol with /.";
    this.#veil(
      "error",
      h("p", { role: "alert" }, `${text.charAt(0).toUpperCase()}${text.slice(1)}.`),
      h("p", {}, more),
    );
  }

  drawLegend = (): void => {
    const book = this.#series?.book;
    const legend = the("legend");
    const found = (this.#pointed !== null && book?.at(this.#pointed)) || lastOf(book?.rows);
    legend.hidden = !found;
    if (!found || !book) return;
    const { row, index } = found;
    const before = book.rows[index - 1]?.close ?? row.open;
    const parts: [string, string][] = [
      ["O", this.#price(row.open)],
      ["H", this.#price(row.high)],
      ["L", this.#price(row.low)],
      ["C", this.#price(row.close)],
      ["V", volume(row.volume)],
    ];
    const change = row.close - before;
    const percent = before ? (100 * change) / before : 0;
    const text = `${signed(change, this.decimals)} (${signed(percent, 2, "%")})`;
    const way = change > 0 ? "up" : change < 0 ? "down" : "";
    const shape = `${parts.length}`;
    if (legend.dataset.shape !== shape) {
      legend.dataset.shape = shape;
      const items = parts.map(([name]) => h("span", {}, h("abbr", { title: LONG[name]! }, name), h("b")));
      legend.replaceChildren(h("time"), ...items, h("span", { class: "change" }));
    }
    const { interval, zone, marketZone } = this.#shown;
    setText(legend.children[0] as HTMLElement, candleTime(row.time, interval, zone, marketZone));
    parts.forEach(([, value], i) => setText(legend.children[i + 1]!.lastElementChild as HTMLElement, value));
    const last = legend.lastElementChild as HTMLElement;
    setText(last, text);
    setAttribute(last, "data-way", way || null);
  };

  /** The index of the candle that is told of: the one under the crosshair, else the newest; -1 where there is none. */
  get told(): number {
    const book = this.#series?.book;
    const found = (this.#pointed !== null && book?.at(this.#pointed)) || lastOf(book?.rows);
    return found ? found.index : -1;
  }

  /** A candle in words. */
  spoken(row: Row): string {
    const { interval, zone, marketZone } = this.#shown;
    const time = candleTime(row.time, interval, zone, marketZone);
    const prices = [row.open, row.high, row.low, row.close].map((value) => this.#price(value));
    return `${time}: open ${prices[0]}, high ${prices[1]}, low ${prices[2]}, close ${prices[3]}, volume ${volume(row.volume)}`;
  }

  #drawQuote = (): void => {
    const line = this.#line();
    const series = this.#series;
    if (!line || !series) return;
    const decimals = decimalsOf(line.meta?.tick_size);
    if (decimals !== this.decimals) {
      this.decimals = decimals;
      this.#reconfigure();
    }
    const { change, percent } = derived(line);
    setText(the("symbol"), line.symbol);
    setText(
      the("name"),
      [line.meta?.name, line.meta?.exchange, line.meta?.currency].filter(Boolean).join(" · "),
    );
    setText(the("last"), this.#price(line.last));
    const way = !change ? null : change > 0 ? "up" : "down";
    const arrow = way === "up" ? "▲ " : way === "down" ? "▼ " : "";
    const shown = change === null ? "" : `${arrow}${signed(change, decimals)} (${signed(percent, 2, "%")})`;
    setText(the("change"), shown);
    setAttribute(the("change"), "data-way", way);
    setAttribute(
      the("change"),
      "title",
      line.baseIsOpen ? "Since the day's open; there is no previous close" : "Since the previous close",
    );
    setText(the("previous"), line.baseIsOpen ? NONE : this.#price(line.base));
    setText(the("range"), range(line, decimals));
    setText(the("volume"), volume(line.volume));
    this.#star.hidden = line.unknown;
    the("simulated").hidden = !line.meta?.simulated;
    setText(the("origin"), line.meta ? origin(line.meta.feed, line.meta.simulated) : "");
    document.title =
      line.last === null ? `${line.symbol} · ticker` : `${line.symbol} ${this.#price(line.last)} · ticker`;
    const label = `Candles of ${line.symbol}, ${series.interval}. Left and right arrows read them.`;
    setAttribute(the("chart"), "aria-label", label);
  };

  #veil(kind: string | null, ...children: HTMLElement[]): void {
    const veil = the("veil");
    veil.hidden = kind === null;
    if (kind === null || veil.dataset.text === `${kind}${children.map((child) => child.textContent).join()}`)
      return;
    veil.dataset.text = `${kind}${children.map((child) => child.textContent).join()}`;
    veil.dataset.kind = kind;
    veil.replaceChildren(...children);
  }

  #price(value: number | null): string {
    return price(value, this.decimals);
  }

  #line() {
    return this.#series ? this.board.line(this.#series.symbol) : undefined;
  }
}

const LONG: Record<string, string> = { O: "Open", H: "High", L: "Low", C: "Close", V: "Volume" };

function lastOf(rows: readonly Row[] | undefined): { row: Row; index: number } | null {
  const row = rows?.at(-1);
  return rows && row ? { row, index: rows.length - 1 } : null;
}

/** The day's low and high, with trades that its candle does not have yet. */
function range({ low, high, last }: Line, decimals: number): string {
  if (low === null || high === null) return NONE;
  const at = last ?? low;
  return `${price(Math.min(low, at), decimals)} – ${price(Math.max(high, at), decimals)}`;
}

/** Where the prices come from, honestly. */
function origin(feed: string, simulated: boolean | undefined): string {
  return simulated ? `Feed ${feed}: simulated prices, made up by this server` : `Feed ${feed}`;
}
