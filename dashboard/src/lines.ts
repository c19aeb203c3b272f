/** What is drawn over the candles, averages or other symbols: the menus, the lines and their legend. */

import type { Chart } from "./chart";
import { Compared } from "./compared";
import { CompareMenu } from "./compare_menu";
import type { Frame } from "./frame";
import type { History } from "./history";
import { OverlayLegend } from "./overlay_legend";
import type { Series } from "./series";
import type { View } from "./state";
import type { Stream } from "./stream";
import { overlayOf, studyKey } from "./studies";
import type { Overlay } from "./studies";
import { StudyMenu } from "./study_menu";

export interface LinesEvents {
  go: (change: Partial<View>) => void;
  /** A line has changed by itself. */
  changed: () => void;
  say: (text: string) => void;
}

export class Lines {
  overlays: Overlay[] = [];
  comparing = false;
  #view: View | null = null;
  #shape = "";
  #compared: Compared;
  #legend: OverlayLegend;
  #studies: StudyMenu;
  #compare: CompareMenu;

  constructor(
    private readonly chart: Chart,
    stream: Stream,
    history: History,
    private readonly frame: Frame,
    private readonly events: LinesEvents,
  ) {
    this.#compared = new Compared(stream, history, events.changed);
    this.#studies = new StudyMenu((studies) => events.go({ studies }));
    this.#compare = new CompareMenu(history, (compare) => events.go({ compare }), events.say);
    this.#legend = new OverlayLegend((overlay) => this.#remove(overlay));
  }

  /** Draw what the view names, over the series' candles. */
  show(view: View, series: Series, marketZone: string): void {
    this.#view = view;
    const compare = view.compare.filter((symbol) => symbol !== series.symbol);
    this.comparing = compare.length > 0;
    this.#studies.show(view.studies, this.comparing);
    this.#compare.show(series.symbol, compare);
    const shape = JSON.stringify([series.symbol, view.interval, view.studies, compare, marketZone]);
    if (shape === this.#shape) return;
    this.#shape = shape;
    const comparisons = this.#compared.set(compare, view.interval);
    this.overlays = this.comparing ? comparisons : view.studies.map((study) => overlayOf(study, marketZone));
    this.chart.overlay(this.overlays, this.comparing);
    this.frame.want(this.events.changed);
  }

  /** Tell of the row at an index. */
  draw(series: Series, at: number, decimals: number): void {
    const { rows } = series.book;
    if (this.comparing && rows[0]) this.#compared.reach(rows[0].time);
    this.#legend.show(this.overlays, this.comparing ? series.symbol : null, this.#compared.errors);
    const first = this.chart.inSight?.first ?? 0;
    if (rows[at]) this.#legend.draw({ rows, at, first }, decimals);
  }

  #remove(overlay: Overlay): void {
    const view = this.#view!;
    this.events.go({
      studies: view.studies.filter((study) => this.comparing || studyKey(study) !== overlay.key),
      compare: view.compare.filter((symbol) => !this.comparing || symbol !== overlay.label),
    });
  }
}
