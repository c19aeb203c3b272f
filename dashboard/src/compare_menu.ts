/** The menu of symbols that are compared with the one on the chart. */

import { COMPARED_MOST } from "./compare";
import { h, setText, the } from "./dom";
import type { History } from "./history";
import { below } from "./popover";
import { Search } from "./search";

export class CompareMenu {
  #own = "";
  #symbols: string[] = [];
  #list = the("compare-list");

  constructor(
    history: History,
    private readonly changed: (symbols: string[]) => void,
    say: (text: string) => void,
  ) {
    below(the("compare-open"), the("compare"), () => this.#draw());
    the("compare").addEventListener("toggle", (event) => {
      if ((event as ToggleEvent).newState === "open") this.#search.focus();
    });
    this.#search = new Search(the<HTMLInputElement>("compare-search"), the("compare-found"), history, {
      pick: ({ symbol }) => {
        this.#add(symbol);
        say(`Compared with ${symbol}, in per cent`);
      },
      isWatched: (symbol) => this.#symbols.includes(symbol),
      say,
    });
  }

  #search: Search;

  show(own: string, symbols: string[]): void {
    [this.#own, this.#symbols] = [own, symbols];
    setText(the("compare-count"), symbols.length ? String(symbols.length) : "");
    this.#draw();
  }

  #draw(): void {
    the<HTMLInputElement>("compare-search").disabled = this.#symbols.length >= COMPARED_MOST;
    const shape = this.#symbols.join();
    if (this.#list.dataset.shape === shape) return;
    this.#list.dataset.shape = shape;
    this.#list.replaceChildren(...this.#symbols.map((symbol, at) => this.#row(symbol, at)));
  }

  #row(symbol: string, at: number): HTMLElement {
    const remove = () => this.changed(this.#symbols.filter((each) => each !== symbol));
    const attributes = {
      type: "button",
      class: "icon",
      "aria-label": `No longer compare with ${symbol}`,
      onclick: remove,
    };
    return h(
      "li",
      { "data-line": at },
      h("span", { class: "swatch", "aria-hidden": "true" }),
      h("span", {}, symbol),
      h("button", attributes, "×"),
    );
  }

  #add(symbol: string): void {
    if (symbol === this.#own || this.#symbols.includes(symbol)) return;
    this.changed([...this.#symbols, symbol].slice(0, COMPARED_MOST));
  }
}
