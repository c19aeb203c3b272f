/** The watchlist's table: rows that follow the board, sort, and are moved about by hand or by key. Only those near what is seen exist. */

import type { Board } from "./board";
import { h, setAttribute } from "./dom";
import type { Frame } from "./frame";
import { sorted } from "./sorting";
import type { Sparks } from "./sparks";
import { COLUMNS, moved, nextSort } from "./state";
import type { Column, Sort } from "./state";
import { scrolledTo, spanOf } from "./virtual";
import type { Span } from "./virtual";
import { drawLine, drawSpark, rowOf } from "./watchlist_row";
import type { Drawn } from "./watchlist_row";

const TITLES: Record<Column, [short: string, long: string]> = {
  symbol: ["Symbol", "Symbol"],
  last: ["Last", "Last price"],
  change: ["Chg", "Change since the previous close"],
  percent: ["Chg %", "Change since the previous close, in percent"],
  bid: ["Bid", "Best bid"],
  ask: ["Ask", "Best ask"],
  volume: ["Vol", "Volume of the day"],
};
const SORT_MS = 1_000;
const SPARK_MS = 1_000;
/** Who scrolls past a row has not looked at it. */
const LOOK_MS = 250;
const ROW_PX = 40;
/** A row that is dragged so near an edge scrolls the list. */
const EDGE_PX = 28;
const DRAG_SCROLL_PX = 12;

export interface WatchlistEvents {
  select: (symbol: string) => void;
  /** The list was changed by the user. */
  edited: (symbols: string[]) => void;
  sorted: (sort: Sort | null) => void;
  say: (text: string) => void;
}

export class Watchlist {
  symbols: string[] = [];
  selected: string | null = null;
  sort: Sort | null = null;
  #drawn = new Map<string, Drawn>();
  #dirty = new Set<string>();
  #head: HTMLTableRowElement;
  #order: string[] = [];
  #places = new Map<string, number>();
  #span: Span = { first: 0, end: 0 };
  #above: HTMLTableCellElement;
  #below: HTMLTableCellElement;
  #body: HTMLTableSectionElement;
  #box: HTMLElement;
  #rowPx = ROW_PX;
  #timers: ReturnType<typeof setInterval>[];
  #looked: ReturnType<typeof setTimeout> | undefined;

  constructor(
    private readonly table: HTMLTableElement,
    private readonly empty: HTMLElement,
    private readonly board: Board,
    private readonly sparks: Sparks,
    private readonly frame: Frame,
    private readonly events: WatchlistEvents,
  ) {
    this.#head = table.tHead!.insertRow();
    for (const column of COLUMNS) this.#head.append(this.#headOf(column));
    const spark = h(
      "th",
      { scope: "col", class: "spark" },
      h("span", { title: "The last 24 hours" }, "24 h"),
    );
    this.#head.cells[0]!.after(spark);
    this.#head.append(
      h("th", { scope: "col", class: "tools" }, h("span", { class: "unseen" }, "Move or remove")),
    );
    this.#body = table.tBodies[0]!;
    this.#above = spacer();
    this.#below = spacer();
    this.#body.before(this.#above.closest("tbody")!);
    this.#body.after(this.#below.closest("tbody")!);
    this.#box = table.parentElement!;
    // Where the page is narrow, it scrolls as a whole.
    const look = () => this.frame.want(this.#look);
    for (const target of [this.#box, document]) target.addEventListener("scroll", look, { passive: true });
    new ResizeObserver(look).observe(this.#box);
    addEventListener("resize", look);
    document.addEventListener("visibilitychange", () => this.#lookSoon());
    this.#timers = [
      // Rows that changed places with every tick could not be read, let alone clicked.
      setInterval(() => this.sort && this.frame.want(this.#arrange), SORT_MS),
      setInterval(() => this.frame.want(this.#drawSparks), SPARK_MS),
    ];
  }

  stop(): void {
    for (const timer of this.#timers) clearInterval(timer);
  }

  /** Show these symbols, in this order where nothing is sorted. */
  set(symbols: string[]): void {
    const [before, after] = [new Set(this.symbols), new Set(symbols)];
    for (const gone of this.symbols.filter((symbol) => !after.has(symbol))) {
      this.board.release(gone);
      this.sparks.forget(gone);
      this.#unmount(gone);
    }
    for (const symbol of symbols.filter((each) => !before.has(each))) this.board.watch(symbol);
    this.symbols = symbols;
    this.empty.hidden = symbols.length > 0;
    this.table.hidden = symbols.length === 0;
    setAttribute(this.table, "aria-rowcount", String(symbols.length + 1));
    this.frame.want(this.#arrange);
  }

  /** A symbol's line has changed: draw it with the next frame, if it is near what is seen. */
  touch(symbol: string): void {
    if (!this.#drawn.has(symbol)) return;
    this.#dirty.add(symbol);
    this.frame.want(this.#draw);
  }

  /** Small lines have come. */
  touchSpark(symbol: string): void {
    const drawn = this.#drawn.get(symbol);
    if (drawn) this.frame.want(this.#drawSparks);
  }

  select(symbol: string): void {
    this.selected = symbol;
    for (const [each, { row, pick }] of this.#drawn) {
      row.classList.toggle("selected", each === symbol);
      setAttribute(pick, "aria-current", each === symbol ? "true" : null);
    }
    this.frame.want(() => this.#reveal(symbol));
    this.#lookSoon();
  }

  sortBy(sort: Sort | null): void {
    this.sort = sort;
    for (const cell of this.#head.querySelectorAll<HTMLElement>("[data-column]")) {
      const isIt = cell.dataset.column === sort?.column;
      setAttribute(cell, "aria-sort", isIt ? (sort!.descending ? "descending" : "ascending") : null);
    }
    this.table.classList.toggle("sorted", sort !== null);
    this.frame.want(this.#arrange);
  }

  /** The symbol so many rows further down than the selected one. */
  neighbour(by: number): string | null {
    const from = this.selected === null ? -1 : this.#order.indexOf(this.selected);
    if (from < 0) return this.#order[by > 0 ? 0 : this.#order.length - 1] ?? null;
    return this.#order[Math.min(Math.max(from + by, 0), this.#order.length - 1)] ?? null;
  }

  remove(symbol: string): void {
    const at = this.#order.indexOf(symbol);
    const hadFocus = this.#drawn.get(symbol)?.row.contains(document.activeElement);
    this.#edit(this.symbols.filter((each) => each !== symbol));
    this.events.say(`${symbol} removed from the watchlist`);
    const next = this.#order.filter((each) => each !== symbol);
    if (hadFocus) this.#focus(next[Math.min(at, next.length - 1)] ?? "");
  }

  move(symbol: string, by: number): void {
    if (this.sort) {
      this.events.say("Sorted by a column; rows can be moved in your own order only");
      return;
    }
    this.#edit(moved(this.symbols, symbol, by));
    this.frame.want(() => this.#reveal(symbol));
    this.events.say(`${symbol} is number ${this.symbols.indexOf(symbol) + 1} of ${this.symbols.length}`);
  }

  #edit(symbols: string[]): void {
    this.set(symbols);
    this.events.edited(symbols);
  }

  #headOf(column: Column): HTMLTableCellElement {
    const [short, long] = TITLES[column];
    const button = h("button", { type: "button", title: `Sort by ${long.toLowerCase()}` }, short);
    button.addEventListener("click", () => {
      this.sortBy(nextSort(this.sort, column));
      this.events.sorted(this.sort);
    });
    return h("th", { scope: "col", "data-column": column, class: column }, button);
  }

  #mount(symbol: string): Drawn {
    const drawn = rowOf(symbol, {
      pick: () => this.events.select(symbol),
      remove: () => this.remove(symbol),
      key: (event) => this.#key(event, symbol),
      handleKey: (event) => this.#handleKey(event, symbol),
      grab: (event) => {
        if (this.sort || event.button !== 0) return;
        event.preventDefault();
        this.#drag(symbol);
      },
    });
    drawn.row.classList.toggle("selected", symbol === this.selected);
    setAttribute(drawn.pick, "aria-current", symbol === this.selected ? "true" : null);
    this.#drawn.set(symbol, drawn);
    const line = this.board.line(symbol);
    drawn.moves = line?.moves ?? 0;
    if (line) drawLine(drawn, line);
    drawSpark(drawn, this.sparks.of(symbol), line?.base ?? null);
    return drawn;
  }

  #unmount(symbol: string): void {
    const drawn = this.#drawn.get(symbol);
    // Whoever reads on with the keyboard goes on from the list, not from the top of the page.
    if (drawn?.row.contains(document.activeElement)) this.#box.closest<HTMLElement>("section")?.focus();
    drawn?.row.remove();
    this.#drawn.delete(symbol);
  }

  #handleKey(event: KeyboardEvent, symbol: string): void {
    const by = event.key === "ArrowUp" ? -1 : event.key === "ArrowDown" ? 1 : 0;
    if (!by) return;
    event.preventDefault();
    event.stopPropagation();
    this.move(symbol, by);
    this.frame.want(() => this.#drawn.get(symbol)?.handle.focus());
  }

  /** Until the pointer lets go. Its capture would not do: it ends when the row is put elsewhere in the table. */
  #drag(symbol: string): void {
    const end = new AbortController();
    const { signal } = end;
    const drop = () => {
      end.abort();
      this.#drawn.get(symbol)?.row.classList.remove("dragged");
      this.events.edited(this.symbols);
    };
    this.#drawn.get(symbol)?.row.classList.add("dragged");
    addEventListener("pointermove", ({ clientY }) => this.#dragTo(symbol, clientY), { signal });
    addEventListener("pointerup", drop, { signal });
    addEventListener("pointercancel", drop, { signal });
  }

  #dragTo(symbol: string, y: number): void {
    const box = this.#box.getBoundingClientRect();
    if (y < box.top + EDGE_PX) this.#box.scrollTop -= DRAG_SCROLL_PX;
    else if (y > box.bottom - EDGE_PX) this.#box.scrollTop += DRAG_SCROLL_PX;
    const at = Math.floor((y - this.#start) / this.#rowPx);
    const to = Math.min(Math.max(at, 0), this.symbols.length - 1);
    const by = to - this.symbols.indexOf(symbol);
    if (by) this.set(moved(this.symbols, symbol, by));
  }

  #key(event: KeyboardEvent, symbol: string): void {
    if (event.key === "Delete") this.remove(symbol);
    else if (event.altKey && event.key === "ArrowUp") this.move(symbol, -1);
    else if (event.altKey && event.key === "ArrowDown") this.move(symbol, 1);
    else return;
    event.preventDefault();
    event.stopPropagation();
    if (event.key !== "Delete") this.#focus(symbol);
  }

  #focus(symbol: string): void {
    this.frame.want(() => {
      this.#reveal(symbol);
      this.#drawn.get(symbol)?.pick.focus({ preventScroll: true });
    });
  }

  /** Put the symbols in order. */
  #arrange = (): void => {
    const order = sorted(this.symbols, this.sort, (symbol) => this.board.line(symbol));
    if (order.length === this.#order.length && order.every((symbol, at) => symbol === this.#order[at]))
      return;
    this.#order = [...order];
    this.#places = new Map(order.map((symbol, at) => [symbol, at]));
    this.#look();
  };

  /** Have the rows that are near what is seen, and no others. */
  #look = (): void => {
    const box = this.#box.getBoundingClientRect();
    const top = Math.max(box.top, 0);
    const seen = Math.min(box.bottom, innerHeight) - top;
    this.#span = spanOf(top - this.#start, Math.max(seen, 0), this.#rowPx, this.#order.length);
    this.#place();
    const height = this.#body.rows[0]?.getBoundingClientRect().height ?? 0;
    // Where letters are large, rows are higher.
    if (height > 0 && Math.abs(height - this.#rowPx) > 0.5) {
      this.#rowPx = height;
      this.frame.want(this.#look);
    }
  };

  /** Where the first row begins; the head stays in sight, so its own place says nothing. */
  get #start(): number {
    return this.table.getBoundingClientRect().top + this.#head.offsetHeight;
  }

  /** Rows that stand right are left alone, so that nothing loses the focus. */
  #place(): void {
    const { first, end } = this.#span;
    const wanted = this.#order.slice(first, end);
    const kept = new Set(wanted);
    for (const symbol of [...this.#drawn.keys()]) if (!kept.has(symbol)) this.#unmount(symbol);
    wanted.forEach((symbol, at) => {
      const { row } = this.#drawn.get(symbol) ?? this.#mount(symbol);
      if (this.#body.rows[at] !== row) this.#body.insertBefore(row, this.#body.rows[at] ?? null);
      setAttribute(row, "aria-rowindex", String(first + at + 2));
    });
    this.#lookSoon();
    room(this.#above, first * this.#rowPx);
    room(this.#below, (this.#order.length - end) * this.#rowPx);
  }

  /** What is near what is seen is kept more current than the rest; where the page is in the background, nothing is. */
  #lookSoon(): void {
    clearTimeout(this.#looked);
    this.#looked = setTimeout(() => {
      const seen = document.hidden ? [] : [...this.#drawn.keys(), this.selected ?? ""];
      this.board.look(new Set(seen));
    }, LOOK_MS);
  }

  /** Scroll the list, not the page, until a row is seen. */
  #reveal(symbol: string): void {
    const at = this.#places.get(symbol);
    if (at === undefined || this.#box.scrollHeight <= this.#box.clientHeight) return;
    const { scrollTop, clientHeight } = this.#box;
    const to = scrolledTo(at, this.#rowPx, scrollTop, clientHeight, this.#head.offsetHeight);
    if (to === scrollTop) return;
    this.#box.scrollTop = to;
    this.#look();
  }

  #draw = (): void => {
    for (const symbol of this.#dirty) {
      const [drawn, line] = [this.#drawn.get(symbol), this.board.line(symbol)];
      if (drawn && line) drawLine(drawn, line);
    }
    this.#dirty.clear();
  };

  #drawSparks = (): void => {
    for (const [symbol, drawn] of this.#drawn) {
      drawSpark(drawn, this.sparks.of(symbol), this.board.line(symbol)?.base ?? null);
    }
  };
}

/** A table's only way to leave room: a row of that height. */
function spacer(): HTMLTableCellElement {
  // One column is enough: more than there are would take their room.
  const cell = h("td");
  h("tbody", { class: "spacer", "aria-hidden": "true", hidden: true }, h("tr", {}, cell));
  return cell;
}

function room(cell: HTMLTableCellElement, px: number): void {
  cell.closest("tbody")!.hidden = px === 0;
  cell.style.height = `${px}px`;
}
