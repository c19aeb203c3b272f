/** Puts the page together: the stream and history behind it, the chart, the watchlist and what stands around them. */

import { Board } from "./board";
import { Chart } from "./chart";
import { setText, the } from "./dom";
import type { ZoneChoice } from "./format";
import { NONE, zoneName } from "./format";
import { closesAt, durationText, remainingMs } from "./countdown";
import { ExportMenu } from "./export_menu";
import type { Exported } from "./export_menu";
import { Frame } from "./frame";
import { History, persistently } from "./history";
import type { Metadata } from "./history";
import { Intervals } from "./intervals";
import { isTyping, press } from "./keys";
import type { Interval } from "./messages";
import { Lines } from "./lines";
import { Monitor } from "./monitor";
import { Panel } from "./panel";
import type { Screen } from "./reference";
import { ReferenceCard } from "./reference_card";
import { Search } from "./search";
import { Series } from "./series";
import { Memory, readView, writeView } from "./state";
import type { View } from "./state";
import { Sparks } from "./sparks";
import { Stream } from "./stream";
import { TapeView } from "./tape_view";
import { HelpDialog, ThemeButton } from "./toolbar";
import { Traffic } from "./traffic";
import { Watchlist } from "./watchlist";
import { countedSocket, countHealing, countRequests } from "./wire";

const FIRST_WATCHLIST = 18;
const EXCHANGE_ZONE = "America/New_York";
const COUNTDOWN_MS = 250;

export class App {
  #memory = new Memory();
  #frame = new Frame();
  #history = new History();
  #traffic = new Traffic();
  #stream = new Stream({
    connect: countedSocket(this.#traffic),
    url: `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/v1/stream`,
  });
  #board = new Board(this.#stream, this.#history, (symbol) => this.#touched(symbol));
  #view: View = readView(location.search, this.#memory.view);
  #marketZone = EXCHANGE_ZONE;
  #series: Series | null = null;
  #drawn = false;
  #chart = new Chart(the("chart"), {
    reachesOldest: () => void this.#series?.loadOlder(),
    points: (time) => {
      this.#panel.point(time);
      this.#frame.want(this.#drawLines);
    },
    follows: (follows) => {
      the("newest").hidden = follows;
      this.#frame.want(this.#drawLines);
      if (follows) this.#series?.trim();
    },
  });
  #panel = new Panel(this.#board, this.#frame, () => this.#toggleWatched());
  #intervals = new Intervals(the("intervals"), (interval) => this.#go({ interval }));
  #sparks: Sparks = new Sparks(
    this.#board,
    this.#history,
    this.#stream,
    () => this.#monitor.serverMs,
    (symbol) => this.#watchlist.touchSpark(symbol),
  );
  #watchlist: Watchlist = new Watchlist(
    the<HTMLTableElement>("rows"),
    the("empty"),
    this.#board,
    this.#sparks,
    this.#frame,
    {
      select: (symbol) => this.#go({ symbol }),
      edited: (symbols) => this.#edited(symbols),
      sorted: (sort) => this.#go({ sort }),
      say,
    },
  );
  #search = new Search(the<HTMLInputElement>("search"), the("found"), this.#history, {
    pick: (found) => this.#found(found),
    isWatched: (symbol) => this.#watchlist.symbols.includes(symbol),
    say,
  });
  #monitor: Monitor = new Monitor(
    this.#stream,
    () => this.#series,
    () => zoneName(this.#view.zone, this.#marketZone),
    this.#traffic,
  );
  #lines = new Lines(this.#chart, this.#stream, this.#history, this.#frame, {
    go: (change) => this.#go(change, "replace"),
    changed: () => this.#frame.want(this.#draw),
    say,
  });
  #tape = new TapeView(this.#stream, this.#history, this.#board, this.#frame, () => this.#shown().zone);
  #card = new ReferenceCard(() => this.#screen(), say);
  #help = new HelpDialog();

  start(): void {
    new ThemeButton(this.#memory, () => this.#chart.paint());
    new ExportMenu(this.#chart, () => this.#exported(), say);
    setInterval(() => this.#frame.want(this.#countDown), COUNTDOWN_MS);
    countRequests(this.#traffic);
    countHealing(this.#traffic, this.#stream);
    this.#listen();
    this.#stream.connect();
    this.#watchlist.sortBy(this.#view.sort);
    const remembered = this.#memory.watchlist;
    if (remembered) this.#watchlist.set(remembered);
    if (this.#view.symbol ?? remembered?.[0])
      this.#go({ symbol: this.#view.symbol ?? remembered![0]! }, "replace");
    else this.#show();
    if (!remembered || !this.#view.symbol) void this.#begin(remembered);
  }

  /** A first visit: the service's first symbols. */
  async #begin(remembered: string[] | null): Promise<void> {
    const { signal } = new AbortController();
    this.#panel.tell(null);
    try {
      for (;;) {
        const found = await persistently(
          () => this.#history.symbols("", FIRST_WATCHLIST, signal),
          signal,
          (error) => this.#panel.tell(error),
        );
        this.#panel.tell(null);
        const symbols = found.map(({ symbol }) => symbol);
        if (!remembered && !this.#watchlist.symbols.length) this.#watchlist.set(symbols);
        if (!this.#view.symbol && symbols[0]) this.#go({ symbol: symbols[0] }, "replace");
        this.#panel.watched(this.#watchlist.symbols.includes(this.#view.symbol ?? ""));
        if (symbols.length) return;
        this.#panel.noSymbols();
        await new Promise((resolve) => setTimeout(resolve, 2_000));
      }
    } catch (error) {
      this.#panel.tell(error as Error);
    }
  }

  #listen(): void {
    this.#stream.on((event) => {
      if (event.kind === "message" && event.message.type === "welcome" && event.message.timezone) {
        this.#marketZone = event.message.timezone;
        this.#configure();
      }
    });
    the("newest").addEventListener("click", () => this.#chart.toNewest());
    the("help-open").addEventListener("click", () => this.#help.open());
    const zone = the<HTMLSelectElement>("zone");
    zone.addEventListener("change", () => this.#go({ zone: zone.value as ZoneChoice }));
    addEventListener("popstate", () => {
      this.#view = readView(location.search, this.#view);
      this.#watchlist.sortBy(this.#view.sort);
      this.#show();
    });
    addEventListener("online", () => this.#stream.retryNow());
    document.addEventListener("visibilitychange", () => document.hidden || this.#stream.retryNow());
    addEventListener("keydown", (event) => this.#key(event));
  }

  #key(event: KeyboardEvent): void {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target))
      return;
    const done = press(event, {
      interval: (interval) => this.#go({ interval }),
      neighbour: (by) => this.#neighbour(by),
      step: (by) => this.#step(by),
      zoom: (factor) => this.#chart.zoom(factor),
      newest: () => this.#chart.toNewest(),
      search: () => this.#search.focus(),
      code: () => this.#card.open(),
      help: () => this.#help.open(),
      escape: () => this.#chart.stopPointing(),
    });
    if (done) event.preventDefault();
  }

  #neighbour(by: number): void {
    const symbol = this.#watchlist.neighbour(by);
    if (symbol) this.#go({ symbol });
  }

  #step(by: number): void {
    const row = this.#chart.step(by);
    if (row) say(this.#panel.spoken(row));
  }

  #found(found: Metadata): void {
    const { symbols } = this.#watchlist;
    if (!symbols.includes(found.symbol)) {
      this.#watchlist.set([...symbols, found.symbol]);
      this.#edited(this.#watchlist.symbols);
      say(`${found.symbol} added to the watchlist`);
    }
    this.#go({ symbol: found.symbol });
  }

  #toggleWatched(): void {
    const { symbol } = this.#view;
    if (!symbol) return;
    const { symbols } = this.#watchlist;
    const watched = symbols.includes(symbol);
    this.#watchlist.set(watched ? symbols.filter((each) => each !== symbol) : [...symbols, symbol]);
    this.#edited(this.#watchlist.symbols);
    say(watched ? `${symbol} removed from the watchlist` : `${symbol} added to the watchlist`);
  }

  #edited(symbols: string[]): void {
    this.#memory.watchlist = symbols;
    this.#panel.watched(symbols.includes(this.#view.symbol ?? ""));
  }

  #touched(symbol: string): void {
    this.#watchlist.touch(symbol);
    this.#sparks.touch(symbol);
    if (symbol !== this.#view.symbol) return;
    this.#panel.touch();
    this.#tape.touch();
  }

  /** Look at something else, with an address of its own. */
  #go(change: Partial<View>, how: "push" | "replace" = "push"): void {
    const before = this.#view;
    this.#view = { ...before, ...change };
    this.#memory.view = this.#view;
    const address = writeView(this.#view);
    // What is a look at other data can be gone back from; how it is shown is no step of its own.
    const isStep =
      how === "push" && (before.symbol !== this.#view.symbol || before.interval !== this.#view.interval);
    if (address !== location.search) history[isStep ? "pushState" : "replaceState"](null, "", address);
    this.#show();
  }

  /** Make the page show the view. */
  #show(): void {
    const { symbol, interval, zone } = this.#view;
    the<HTMLSelectElement>("zone").value = zone;
    this.#intervals.select(interval);
    if (symbol) this.#watchlist.select(symbol);
    const shown = this.#series;
    if (symbol && (shown?.symbol !== symbol || shown.interval !== interval)) this.#open(symbol, interval);
    else this.#configure();
  }

  #open(symbol: string, interval: Interval): void {
    const before = this.#series;
    // The new one subscribes before the old one lets go, so that what both want is not asked for again.
    this.#board.watch(symbol);
    const series: Series = new Series(symbol, interval, this.#stream, this.#history, {
      changed: () => this.#frame.want(() => series === this.#series && this.#draw()),
      state: () => this.#frame.want(() => series === this.#series && this.#panel.state(series)),
    });
    this.#series = series;
    before?.close();
    if (before) this.#board.release(before.symbol);
    this.#panel.show(series, this.#watchlist.symbols.includes(symbol));
    this.#chart.show(series.book, this.#shown());
    this.#panel.configure(this.#shown(), this.#reconfigure);
    this.#tape.show(symbol);
    this.#lines.show(this.#view, series, this.#marketZone);
    the("newest").hidden = true;
  }

  #draw = (): void => {
    this.#chart.draw();
    // The first candle of all ends the word that there is none.
    if (this.#series) this.#panel.state(this.#series);
    if (this.#series?.loaded) this.#sparks.begin();
    if (!this.#drawn && this.#series?.book.rows.length) {
      this.#drawn = true;
      performance.mark("candles");
    }
    this.#panel.drawLegend();
    this.#drawLines();
    this.#countDown();
    this.#monitor.check();
  };

  #drawLines = (): void => {
    if (this.#series) this.#lines.draw(this.#series, this.#panel.told, this.#panel.decimals);
  };

  #countDown = (): void => {
    const newest = this.#series?.book.rows.at(-1)?.time;
    const left = remainingMs(newest, this.#view.interval, this.#marketZone, this.#monitor.serverMs);
    const text = left === null ? null : durationText(left);
    setText(the("countdown"), text ?? NONE);
    this.#chart.label(this.#view.interval === "1s" ? null : text);
  };

  #exported(): Exported | null {
    const series = this.#series;
    if (!series) return null;
    const { overlays, comparing } = this.#lines;
    return {
      ...{ series, overlays },
      symbols: [series.symbol, ...(comparing ? overlays.map(({ label }) => label) : [])],
      simulated: this.#board.line(series.symbol)?.meta?.simulated ?? false,
      legend: [the("legend"), the("overlays")]
        .map((each) => each.innerText.replace(/[\s×]+/g, " "))
        .join("   "),
    };
  }

  /** What is on the screen, in the words of the interface. */
  #screen(): Screen | null {
    const series = this.#series;
    const { rows } = series?.book ?? {};
    if (!series || !rows) return null;
    const sight = this.#chart.inSight ?? { first: 0, last: rows.length - 1 };
    const [first, last] = [rows[sight.first], rows[sight.last]];
    const isNewest = !last || sight.last === rows.length - 1;
    return {
      origin: location.origin,
      ...{ symbol: series.symbol, interval: series.interval },
      compare: this.#lines.comparing ? this.#lines.overlays.map(({ label }) => label) : [],
      count: sight.last - sight.first + 1,
      range:
        isNewest || !first
          ? null
          : { from: first.time, to: closesAt(last.time, series.interval, this.#marketZone) },
      tape: this.#tape.count,
      watchlist: this.#watchlist.symbols,
    };
  }

  /** What the panel has learned of the symbol concerns the chart too. */
  #reconfigure = (): void => this.#chart.configure(this.#shown());

  #shown() {
    const { interval, zone } = this.#view;
    const name = zoneName(zone, this.#marketZone);
    return { interval, zone: name, marketZone: this.#marketZone, decimals: this.#panel.decimals };
  }

  #configure(): void {
    const shown = this.#shown();
    this.#panel.configure(shown, this.#reconfigure);
    if (!this.#series) return;
    this.#chart.configure(shown);
    this.#lines.show(this.#view, this.#series, this.#marketZone);
    this.#tape.touch();
    this.#frame.want(this.#drawLines);
  }
}

/** Tell those who listen rather than look. */
function say(text: string): void {
  the("spoken").textContent = text;
}
