/** The card with the requests behind what is on the screen, each to be copied. */

import { h, setAttribute, setText, the } from "./dom";
import { LANGUAGES, snippets } from "./reference";
import type { Language, Screen, Snippet } from "./reference";

const COPIED_MS = 1_500;

export class ReferenceCard {
  #dialog = the<HTMLDialogElement>("code");
  #language: Language = "curl";

  constructor(
    private readonly screen: () => Screen | null,
    private readonly say: (text: string) => void,
  ) {
    the("code-open").addEventListener("click", () => this.open());
  }

  open(): void {
    if (this.#dialog.open) return;
    this.#draw();
    this.#dialog.showModal();
  }

  #draw(): void {
    const screen = this.screen();
    const cards = screen ? snippets(screen).map((each) => this.#card(each)) : [];
    const none = h("p", { class: "dim" }, "Choose a symbol first.");
    this.#dialog.replaceChildren(
      h("h2", { id: "code-title" }, "The code behind this screen"),
      h(
        "p",
        { class: "dim" },
        "The same requests this page makes, for programs of yours. ",
        explained[this.#language],
      ),
      this.#tabs(),
      h(
        "div",
        {
          role: "tabpanel",
          id: "code-panel",
          "aria-labelledby": `code-${this.#language}`,
          tabindex: 0,
          class: "snippets",
        },
        ...(cards.length ? cards : [none]),
      ),
      h("form", { method: "dialog" }, h("button", {}, "Close")),
    );
  }

  #tabs(): HTMLElement {
    const tabs = LANGUAGES.map((language) => {
      const isIt = language === this.#language;
      const attributes = {
        ...{ type: "button", role: "tab", id: `code-${language}`, "aria-controls": "code-panel" },
        ...{ "aria-selected": String(isIt), tabindex: isIt ? 0 : -1, autofocus: isIt },
      };
      return h("button", { ...attributes, onclick: () => this.#choose(language) }, language);
    });
    const list = h("div", { role: "tablist", class: "tabs", "aria-label": "Language" }, ...tabs);
    list.addEventListener("keydown", ({ key }) => {
      const by = key === "ArrowRight" ? 1 : key === "ArrowLeft" ? -1 : 0;
      const next = LANGUAGES.indexOf(this.#language) + by + LANGUAGES.length;
      if (by) this.#choose(LANGUAGES[next % LANGUAGES.length]!);
    });
    return list;
  }

  #choose(language: Language): void {
    this.#language = language;
    this.#draw();
    the(`code-${language}`).focus();
  }

  #card({ title, door, code }: Snippet): HTMLElement {
    const text = code[this.#language];
    const button = h("button", { type: "button", class: "copy", "aria-label": `Copy: ${title}` }, "Copy");
    button.addEventListener("click", () => void this.#copy(text, title, button));
    return h(
      "section",
      { "data-door": door },
      h("h3", {}, title, h("span", { class: "door" }, door), button),
      h("pre", {}, h("code", {}, text)),
    );
  }

  async #copy(text: string, title: string, button: HTMLElement): Promise<void> {
    const worked = await copied(text);
    setText(button, worked ? "Copied" : "Copy by hand");
    setAttribute(button, "data-done", worked ? "" : null);
    this.say(worked ? `${title}: copied` : "The browser does not let this page copy");
    setTimeout(() => {
      setText(button, "Copy");
      setAttribute(button, "data-done", null);
    }, COPIED_MS);
  }
}

const explained: Record<Language, string> = {
  curl: "curl speaks WebSocket from version 8.11 on.",
  JavaScript: "In a page or in Node 22.",
  Python: "With ticker.client, which comes with the server.",
};

/** Over plain http from elsewhere than this machine browsers have no clipboard for pages. */
async function copied(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return false;
  }
}
