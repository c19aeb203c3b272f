/** The menu of averages: which are drawn, over how many candles each. */

import { h, setText, the } from "./dom";
import { below } from "./popover";
import { distinct, PERIOD_LEAST, PERIOD_MOST, STUDIES_MOST, studyKey } from "./studies";
import type { Study } from "./studies";

const USUAL = [20, 50, 100, 200, 10, 9];
type Average = Exclude<Study, { kind: "vwap" }>;

const isAverage = (study: Study): study is Average => study.kind !== "vwap";

const NAMES = { sma: "Simple average", ema: "Exponential average" };

export class StudyMenu {
  #studies: Study[] = [];
  #list = the("study-list");
  #hint = the("study-hint");
  #vwap = the<HTMLInputElement>("study-vwap");

  constructor(private readonly changed: (studies: Study[]) => void) {
    below(the("studies-open"), the("studies"), () => this.#draw());
    for (const kind of ["sma", "ema"] as const) {
      the(`study-${kind}`).addEventListener("click", () => this.#add(kind));
    }
    this.#vwap.addEventListener("change", () => {
      const others = this.#studies.filter(({ kind }) => kind !== "vwap");
      this.#set(this.#vwap.checked ? [...others, { kind: "vwap" }] : others);
    });
  }

  show(studies: Study[], comparing: boolean): void {
    this.#studies = studies;
    setText(the("studies-count"), studies.length ? String(studies.length) : "");
    this.#hint.hidden = !comparing;
    this.#draw();
  }

  #draw(): void {
    const averages = this.#studies.filter(isAverage);
    this.#vwap.checked = averages.length < this.#studies.length;
    const shape = this.#studies.map(studyKey).join();
    if (this.#list.dataset.shape === shape) return;
    this.#list.dataset.shape = shape;
    this.#list.replaceChildren(...averages.map((study) => this.#row(study)));
    const full = this.#studies.length >= STUDIES_MOST;
    for (const id of ["study-sma", "study-ema"]) the<HTMLButtonElement>(id).disabled = full;
  }

  #row(study: Average): HTMLElement {
    const name = NAMES[study.kind];
    const at = this.#studies.indexOf(study);
    const input = h("input", {
      ...{ type: "number", min: PERIOD_LEAST, max: PERIOD_MOST, value: study.period },
      ...{ required: true, "aria-label": `${name}: candles` },
    });
    input.addEventListener("change", () => {
      const period = Number(input.value);
      if (input.reportValidity() && Number.isInteger(period)) this.#replace(study, { ...study, period });
    });
    const remove = () => this.#set(this.#studies.filter((each) => each !== study));
    const attributes = { type: "button", class: "icon", "aria-label": `Remove ${name} ${study.period}` };
    return h(
      "li",
      { "data-line": at },
      h("span", { class: "swatch", "aria-hidden": "true" }),
      h("span", {}, name),
      input,
      h("button", { ...attributes, onclick: remove }, "×"),
    );
  }

  #add(kind: "sma" | "ema"): void {
    const taken = this.#studies.map(studyKey);
    const period = USUAL.find((each) => !taken.includes(`${kind}${each}`)) ?? 20;
    this.#set([...this.#studies, { kind, period }]);
    const inputs = this.#list.querySelectorAll("input");
    inputs[inputs.length - 1]?.select();
  }

  #replace(study: Study, by: Study): void {
    this.#set(this.#studies.map((each) => (each === study ? by : each)));
  }

  #set(studies: Study[]): void {
    this.changed(distinct(studies));
  }
}
