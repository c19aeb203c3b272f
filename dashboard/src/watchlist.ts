/** The watchlist's table: rows that follow the board, flash, sort, and are moved about by hand or by key. */

import { derived } from "./board";
import type { Board, Line } from "./board";
import { h, prefersLessMotion, setAttribute, setText } from "./dom";
import { decimalsOf, NONE, price, signed, volume } from "./format";
import type { Frame } from "./frame";
import { sorted } from "./sorting";
import { COLUMNS, moved, nextSort } from "./state";
import type { Column, Sort } from "./state";

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
const FLASH_MS = 700;
const ARROWS = { "-1": "▼", "0": "", "1": "▲" } as const;

interface Drawn {
  row: HTMLTableRowElement;
  pick: HTMLButtonElement;
  name: HTMLElement;
  cells: Record<Exclude<Column, "symbol">, HTMLTableCellElement>;
  arrow: HTMLElement;
  lastText: HTMLElement;
  flash: HTMLElement;
  moves: number;
}

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
  #sortTimer: ReturnType<typeof setInterval>;

  constructor(
    private readonly table: HTMLTableElement,
    private readonly empty: HTMLElement,
    private readonly board: Board,
    private readonly frame: Frame,
    private readonly events: WatchlistEvents,
  ) {
    this.#head = table.tHead!.insertRow();
    for (const column of COLUMNS) this.#head.append(this.#headOf(column));
    this.#head.append(
      h("th", { scope: "col", class: "tools" }, h("span", { class: "unseen" }, "Move or remove")),
    );
    // Rows that changed places with every tick could not be read, let alone clicked.
    this.#sortTimer = setInterval(() => this.sort && this.frame.want(this.#arrange), SORT_MS);
  }

  stop(): void {
    clearInterval(this.#sortTimer);
  }

  /** Show these symbols, in this order where nothing is sorted. */
  set(symbols: string[]): void {
    for (const gone of this.symbols.filter((symbol) => !symbols.includes(symbol))) {
      this.board.release(gone);
      this.#drawn.get(gone)?.row.remove();
      this.#drawn.delete(gone);
    }
    for (const symbol of symbols.filter((each) => !this.symbols.includes(each))) {
      this.board.watch(symbol);
      this.#drawn.set(symbol, this.#rowOf(symbol));
      this.touch(symbol);
    }
    this.symbols = symbols;
    this.empty.hidden = symbols.length > 0;
    this.table.hidden = symbols.length === 0;
    this.frame.want(this.#arrange);
  }

  /** A symbol's line has changed: draw it with the next frame. */
  touch(symbol: string): void {
    if (!this.#drawn.has(symbol)) return;
    this.#dirty.add(symbol);
    this.frame.want(this.#draw);
  }

  select(symbol: string): void {
    this.selected = symbol;
    for (const [each, { row, pick }] of this.#drawn) {
      row.classList.toggle("selected", each === symbol);
      setAttribute(pick, "aria-current", each === symbol ? "true" : null);
    }
    this.#drawn.get(symbol)?.row.scrollIntoView({ block: "nearest" });
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
    if (hadFocus) this.#drawn.get(next[Math.min(at, next.length - 1)] ?? "")?.pick.focus();
  }

  move(symbol: string, by: number): void {
    if (this.sort) {
      this.events.say("Sorted by a column; rows can be moved in your own order only");
      return;
    }
    this.#edit(moved(this.symbols, symbol, by));
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

  #rowOf(symbol: string): Drawn {
    const name = h("span", { class: "name" });
    const pick = h("button", { type: "button", class: "pick" }, h("b", {}, symbol), name);
    pick.addEventListener("keydown", (event) => this.#key(event, symbol));
    const [arrow, lastText] = [h("span", { class: "arrow", "aria-hidden": "true" }), h("span")];
    const cells = Object.fromEntries(
      COLUMNS.slice(1).map((column) => [column, h("td", { class: column })]),
    ) as Drawn["cells"];
    const over = h("span", { class: "flash" });
    cells.last.append(over, arrow, lastText);
    const row = h(
      "tr",
      { "data-symbol": symbol },
      h("th", { scope: "row", class: "symbol" }, pick),
      ...Object.values(cells),
      h("td", { class: "tools" }, this.#handle(symbol), this.#remover(symbol)),
    );
    row.addEventListener("click", (event) => {
      if (!(event.target as Element).closest(".tools")) this.events.select(symbol);
    });
    if (symbol === this.selected) row.classList.add("selected");
    return { row, pick, name, cells, arrow, lastText, flash: over, moves: 0 };
  }

  #remover(symbol: string): HTMLElement {
    const attributes = { type: "button", class: "remove", "aria-label": `Remove ${symbol}`, title: "Remove" };
    return h("button", { ...attributes, onclick: () => this.remove(symbol) }, "×");
  }

  /** Rows follow the pointer that holds their handle; arrow keys move them too. */
  #handle(symbol: string): HTMLElement {
    const attributes = {
      type: "button",
      class: "handle",
      "aria-label": `Move ${symbol}`,
      title: "Drag to move, or ↑ ↓",
    };
    const handle = h("button", attributes, "⠿");
    handle.addEventListener("keydown", (event) => {
      const by = event.key === "ArrowUp" ? -1 : event.key === "ArrowDown" ? 1 : 0;
      if (!by) return;
      event.preventDefault();
      event.stopPropagation();
      this.move(symbol, by);
      this.frame.want(() => handle.focus());
    });
    handle.addEventListener("pointerdown", (event) => {
      if (this.sort || event.button !== 0) return;
      event.preventDefault();
      this.#drag(symbol);
    });
    return handle;
  }

  /** Until the pointer lets go. Its capture would not do: it ends when the row is put elsewhere in the table. */
  #drag(symbol: string): void {
    const { row } = this.#drawn.get(symbol)!;
    const end = new AbortController();
    const { signal } = end;
    const drop = () => {
      end.abort();
      row.classList.remove("dragged");
      this.events.edited(this.symbols);
    };
    row.classList.add("dragged");
    addEventListener("pointermove", ({ clientY }) => this.#dragTo(symbol, clientY), { signal });
    addEventListener("pointerup", drop, { signal });
    addEventListener("pointercancel", drop, { signal });
  }

  #dragTo(symbol: string, y: number): void {
    const rows = this.symbols.map((each) => this.#drawn.get(each)!.row.getBoundingClientRect());
    const at = rows.findIndex((box) => y < box.bottom);
    const to = at < 0 ? this.symbols.length - 1 : at;
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
    this.frame.want(() => this.#drawn.get(symbol)?.pick.focus());
  }

  /** Rows in order; those that stand right are left alone, so that nothing loses the focus. */
  #arrange = (): void => {
    const order = sorted(this.symbols, this.sort, (symbol) => this.board.line(symbol));
    this.#order = order;
    const body = this.table.tBodies[0]!;
    order.forEach((symbol, index) => {
      const { row } = this.#drawn.get(symbol)!;
      if (body.rows[index] !== row) body.insertBefore(row, body.rows[index] ?? null);
    });
  };

  #draw = (): void => {
    for (const symbol of this.#dirty) {
      const [drawn, line] = [this.#drawn.get(symbol), this.board.line(symbol)];
      if (drawn && line) draw(drawn, line);
    }
    this.#dirty.clear();
  };
}

function draw(drawn: Drawn, line: Line): void {
  const { cells, name, arrow, lastText } = drawn;
  const decimals = decimalsOf(line.meta?.tick_size);
  const { change, percent } = derived(line);
  setText(name, line.unknown ? "not known here" : (line.meta?.name ?? ""));
  setText(lastText, price(line.last, decimals));
  setText(arrow, ARROWS[line.direction]);
  setText(cells.change, signed(change, decimals));
  setText(cells.percent, percent === null ? NONE : signed(percent, 2, "%"));
  const way = change === null || change === 0 ? "" : change > 0 ? "up" : "down";
  for (const cell of [cells.change, cells.percent]) setAttribute(cell, "data-way", way || null);
  setAttribute(cells.last, "data-way", line.direction === 0 ? null : line.direction > 0 ? "up" : "down");
  setAttribute(
    cells.percent,
    "title",
    line.baseIsOpen ? "There is no previous close: counted from the day's open" : null,
  );
  setText(cells.bid, price(line.bid, decimals));
  setText(cells.ask, price(line.ask, decimals));
  setText(cells.volume, volume(line.volume));
  if (drawn.moves !== line.moves) flash(drawn.flash);
  drawn.moves = line.moves;
}

/** Colour for an instant; the arrow says the same and stays. */
function flash(over: HTMLElement): void {
  if (document.hidden || prefersLessMotion()) return;
  for (const running of over.getAnimations()) running.cancel();
  over.animate([{ opacity: 1 }, { opacity: 0 }], { duration: FLASH_MS, easing: "ease-out" });
}
