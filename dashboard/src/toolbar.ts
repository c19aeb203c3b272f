/** The bar's small parts: the choice of colours, and the help. */

import { h, setAttribute, setText, the } from "./dom";
import { HELP } from "./keys";
import type { Memory, Theme } from "./state";

const THEMES: Record<Theme, { next: Theme; sign: string; name: string }> = {
  system: { next: "light", sign: "◐", name: "as the system" },
  light: { next: "dark", sign: "☀", name: "light" },
  dark: { next: "system", sign: "☾", name: "dark" },
};

export class ThemeButton {
  constructor(
    private readonly memory: Memory,
    private readonly changed: () => void,
  ) {
    the("theme").addEventListener("click", () => this.#choose(THEMES[this.memory.theme].next));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", this.changed);
    this.#choose(memory.theme);
  }

  #choose(theme: Theme): void {
    this.memory.theme = theme;
    const { sign, name } = THEMES[theme];
    setText(the("theme"), sign);
    setAttribute(the("theme"), "aria-label", `Colours: ${name}`);
    setAttribute(the("theme"), "title", `Colours: ${name}`);
    setAttribute(document.documentElement, "data-theme", theme === "system" ? null : theme);
    this.changed();
  }
}

export class HelpDialog {
  #dialog = the<HTMLDialogElement>("help");

  constructor() {
    const rows = HELP.map(([keys, what]) =>
      h("div", {}, h("dt", {}, ...keys.flatMap((key) => [h("kbd", {}, key), " "])), h("dd", {}, what)),
    );
    const licences = h("a", { href: "./licenses.md" }, "licences");
    this.#dialog.replaceChildren(
      h("h2", { id: "help-title" }, "Keyboard"),
      h("dl", { class: "keys" }, ...rows),
      h(
        "p",
        { class: "dim" },
        "Hollow candles rose, filled ones fell. This page uses only the public WebSocket and REST interface. ",
        "TradingView Lightweight Charts™, Copyright © TradingView, Inc. ",
        h(
          "a",
          { href: "https://www.tradingview.com/", target: "_blank", rel: "noopener" },
          "tradingview.com",
        ),
        "; ",
        licences,
        ".",
      ),
      h("form", { method: "dialog" }, h("button", { autofocus: true }, "Close")),
    );
  }

  open(): void {
    if (!this.#dialog.open) this.#dialog.showModal();
  }
}
