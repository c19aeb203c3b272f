/** One row of the watchlist: makes it, and writes into it what has changed. */

import { derived } from "./board";
import type { Line } from "./board";
import { h, prefersLessMotion, setAttribute, setText } from "./dom";
import { decimalsOf, NONE, price, signed, volume } from "./format";
import type { Spark } from "./spark";
import { COLUMNS } from "./state";
import type { Column } from "./state";

const FLASH_MS = 700;
const ARROWS = { "-1": "▼", "0": "", "1": "▲" } as const;
const SPARK_WIDTH = 64;
const SPARK_HEIGHT = 22;
const SVG = "http://www.w3.org/2000/svg";

export interface Drawn {
  row: HTMLTableRowElement;
  pick: HTMLButtonElement;
  handle: HTMLButtonElement;
  name: HTMLElement;
  cells: Record<Exclude<Column, "symbol">, HTMLTableCellElement>;
  arrow: HTMLElement;
  lastText: HTMLElement;
  flash: HTMLElement;
  spark: SVGSVGElement;
  moves: number;
}

export interface RowEvents {
  pick: () => void;
  remove: () => void;
  key: (event: KeyboardEvent) => void;
  handleKey: (event: KeyboardEvent) => void;
  grab: (event: PointerEvent) => void;
}

export function rowOf(symbol: string, events: RowEvents): Drawn {
  const name = h("span", { class: "name" });
  const pick = h("button", { type: "button", class: "pick" }, h("b", {}, symbol), name);
  pick.addEventListener("keydown", events.key);
  const [arrow, lastText] = [h("span", { class: "arrow", "aria-hidden": "true" }), h("span")];
  const flash = h("span", { class: "flash" });
  const cells = Object.fromEntries(
    COLUMNS.slice(1).map((column) => [column, h("td", { class: column })]),
  ) as Drawn["cells"];
  cells.last.append(flash, arrow, lastText);
  const spark = sparkOf();
  const handle = handleOf(symbol, events);
  const row = h(
    "tr",
    { "data-symbol": symbol },
    h("th", { scope: "row", class: "symbol" }, pick),
    h("td", { class: "spark" }, spark),
    ...Object.values(cells),
    h("td", { class: "tools" }, handle, removerOf(symbol, events)),
  );
  row.addEventListener("click", (event) => {
    if (!(event.target as Element).closest(".tools")) events.pick();
  });
  return { row, pick, handle, name, cells, arrow, lastText, flash, spark, moves: 0 };
}

/** Rows follow the pointer that holds their handle; arrow keys move them too. */
function handleOf(symbol: string, events: RowEvents): HTMLButtonElement {
  const attributes = { type: "button", class: "handle", "aria-label": `Move ${symbol}` };
  const handle = h("button", { ...attributes, title: "Drag to move, or ↑ ↓" }, "⠿");
  handle.addEventListener("keydown", events.handleKey);
  handle.addEventListener("pointerdown", events.grab);
  return handle;
}

function removerOf(symbol: string, events: RowEvents): HTMLElement {
  const attributes = { type: "button", class: "remove", "aria-label": `Remove ${symbol}`, title: "Remove" };
  return h("button", { ...attributes, onclick: events.remove }, "×");
}

function sparkOf(): SVGSVGElement {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", `0 0 ${SPARK_WIDTH} ${SPARK_HEIGHT}`);
  svg.setAttribute("aria-hidden", "true");
  for (const name of ["base", "line"]) {
    const path = document.createElementNS(SVG, "path");
    path.setAttribute("class", name);
    svg.append(path);
  }
  return svg;
}

/** The last 24 hours, and the close of the day before across them. */
export function drawSpark({ spark }: Drawn, points: Spark, base: number | null): void {
  const drawing = points.draw(SPARK_WIDTH, SPARK_HEIGHT, base);
  const [across, line] = [spark.children[0]!, spark.children[1]!];
  const [path, level] = [drawing?.path ?? "", drawing?.base ?? null];
  if (line.getAttribute("d") !== path) line.setAttribute("d", path);
  const straight = level === null ? "" : `M0 ${level.toFixed(1)}H${SPARK_WIDTH}`;
  if (across.getAttribute("d") !== straight) across.setAttribute("d", straight);
  const way = drawing?.way ?? null;
  if (spark.dataset.way !== (way ?? undefined)) {
    if (way) spark.dataset.way = way;
    else delete spark.dataset.way;
  }
}

export function drawLine(drawn: Drawn, line: Line): void {
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
