/** The search for symbols: a box with a list of what is found, worked by keys or pointer. */

import { h, setAttribute } from "./dom";
import type { History, Metadata } from "./history";

const WAIT_MS = 120;
const ASKED = 200;
const MOST = 30;

export interface SearchEvents {
  pick: (found: Metadata) => void;
  isWatched: (symbol: string) => boolean;
  say: (text: string) => void;
}

export class Search {
  #found: Metadata[] = [];
  #active = -1;
  #asked: AbortController | null = null;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(
    private readonly input: HTMLInputElement,
    private readonly list: HTMLElement,
    private readonly history: History,
    private readonly events: SearchEvents,
  ) {
    input.addEventListener("input", () => this.#ask(WAIT_MS));
    input.addEventListener("focus", () => this.#ask(0));
    input.addEventListener("blur", () => this.close());
    input.addEventListener("keydown", (event) => this.#key(event));
    // The box keeps the focus while the list is clicked.
    list.addEventListener("pointerdown", (event) => event.preventDefault());
  }

  focus(): void {
    this.input.focus();
    this.input.select();
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#asked?.abort();
    this.list.hidden = true;
    this.#active = -1;
    setAttribute(this.input, "aria-expanded", "false");
    setAttribute(this.input, "aria-activedescendant", null);
  }

  #ask(waitMs: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.#search(this.input.value.trim()), waitMs);
  }

  async #search(query: string): Promise<void> {
    this.#asked?.abort();
    const asked = new AbortController();
    this.#asked = asked;
    try {
      const found = await this.history.symbols(query, ASKED, asked.signal);
      this.#show(byFit(found, query).slice(0, MOST), query);
    } catch (error) {
      if (!asked.signal.aborted) this.#message((error as Error).message);
    }
  }

  #show(found: Metadata[], query: string): void {
    this.#found = found;
    if (!found.length) {
      this.#message(query ? `No symbol or name contains “${query}”.` : "There are no symbols yet.");
      return;
    }
    this.#active = query ? 0 : -1;
    this.list.replaceChildren(...found.map((row, index) => this.#option(row, index)));
    this.#open();
    this.#mark();
  }

  #option(row: Metadata, index: number): HTMLElement {
    const watched = this.events.isWatched(row.symbol);
    const attributes = { role: "option", id: `${this.list.id}-${index}`, "aria-selected": "false" };
    const text = [
      h("b", {}, row.symbol),
      h("span", { class: "name" }, row.name),
      h("span", { class: "venue" }, row.exchange),
    ];
    const hint = h("span", { class: "hint" }, watched ? "in list" : "add");
    return h("div", { ...attributes, onclick: () => this.#pick(index) }, ...text, hint);
  }

  #message(text: string): void {
    this.#found = [];
    this.#active = -1;
    this.list.replaceChildren(h("div", { class: "nothing", role: "option", "aria-disabled": "true" }, text));
    this.#open();
    this.events.say(text);
  }

  #open(): void {
    if (document.activeElement !== this.input) return;
    this.list.hidden = false;
    setAttribute(this.input, "aria-expanded", "true");
  }

  #mark(): void {
    [...this.list.children].forEach((option, index) => {
      setAttribute(option as HTMLElement, "aria-selected", String(index === this.#active));
    });
    setAttribute(
      this.input,
      "aria-activedescendant",
      this.#active < 0 ? null : `${this.list.id}-${this.#active}`,
    );
    this.list.children[this.#active]?.scrollIntoView({ block: "nearest" });
  }

  #key(event: KeyboardEvent): void {
    const { key } = event;
    if (key === "Escape") {
      this.input.value = "";
      this.input.blur();
    } else if ((key === "ArrowDown" || key === "ArrowUp") && this.#found.length) {
      const by = key === "ArrowDown" ? 1 : -1;
      const count = this.#found.length;
      this.#active = this.#active < 0 && by < 0 ? count - 1 : (this.#active + by + count) % count;
      this.#mark();
    } else if (key === "Enter" && this.#found.length) {
      this.#pick(Math.max(this.#active, 0));
    } else {
      return;
    }
    event.preventDefault();
    event.stopPropagation();
  }

  #pick(index: number): void {
    const found = this.#found[index];
    if (!found) return;
    this.input.value = "";
    this.input.blur();
    this.events.pick(found);
  }
}

/** Those whose symbol is what was typed first, then those whose symbol begins with it; the rest as the service has them. */
export function byFit(found: Metadata[], query: string): Metadata[] {
  const wanted = query.toUpperCase();
  const rank = ({ symbol }: Metadata) => (symbol === wanted ? 0 : symbol.startsWith(wanted) ? 1 : 2);
  return [...found].sort((a, b) => rank(a) - rank(b));
}
