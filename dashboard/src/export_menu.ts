/** Saves what the chart shows: its candles in sight as CSV, or all of it as a picture. */

import type { Chart } from "./chart";
import { the } from "./dom";
import { csv, fileName } from "./export";
import { below } from "./popover";
import type { Series } from "./series";
import type { Overlay } from "./studies";

export interface Exported {
  series: Series;
  overlays: Overlay[];
  /** All symbols that are shown, the chart's first. */
  symbols: string[];
  simulated: boolean;
  /** What the legends say. */
  legend: string;
}

const HEAD_PX = 46;
const EDGE_PX = 12;

export class ExportMenu {
  constructor(
    private readonly chart: Chart,
    private readonly exported: () => Exported | null,
    private readonly say: (text: string) => void,
  ) {
    const menu = the("export");
    below(the("export-open"), menu, () => undefined);
    const choose = (id: string, save: (shown: Exported) => void) =>
      the(id).addEventListener("click", () => {
        menu.hidePopover();
        const shown = this.exported();
        if (shown?.series.book.rows.length) save(shown);
        else this.say("There is no candle to export yet");
      });
    choose("export-csv", (shown) => this.#csv(shown));
    choose("export-png", (shown) => this.#png(shown));
  }

  #csv(shown: Exported): void {
    const { rows } = shown.series.book;
    const { first, last } = this.chart.inSight ?? { first: 0, last: rows.length - 1 };
    const text = csv(rows, first, last, shown.overlays);
    this.#save(new Blob([text], { type: "text/csv" }), this.#name(shown, rows[last]!.time, "csv"));
  }

  #png(shown: Exported): void {
    const { rows } = shown.series.book;
    const last = this.chart.inSight?.last ?? rows.length - 1;
    const name = this.#name(shown, rows[last]!.time, "png");
    framed(this.chart.picture(), shown).toBlob(
      (picture) => picture && this.#save(picture, name),
      "image/png",
    );
  }

  #name({ symbols, series }: Exported, time: number, ending: string): string {
    return fileName(symbols, series.interval, time, ending);
  }

  #save(content: Blob, name: string): void {
    const address = URL.createObjectURL(content);
    const link = document.createElement("a");
    [link.href, link.download] = [address, name];
    link.click();
    // The download begins before the address goes.
    setTimeout(() => URL.revokeObjectURL(address), 10_000);
    this.say(`${name} saved`);
  }
}

/** The chart with a head that says what it is, at the screen's own resolution. */
function framed(
  chart: HTMLCanvasElement,
  { symbols, series, simulated, legend }: Exported,
): HTMLCanvasElement {
  const style = getComputedStyle(the("chart"));
  const colours = getComputedStyle(document.body);
  const scale = devicePixelRatio;
  const picture = document.createElement("canvas");
  [picture.width, picture.height] = [chart.width, chart.height + HEAD_PX * scale];
  const pen = picture.getContext("2d")!;
  pen.fillStyle = getComputedStyle(the("chart").closest(".chart")!).backgroundColor;
  pen.fillRect(0, 0, picture.width, picture.height);
  pen.drawImage(chart, 0, HEAD_PX * scale);
  pen.scale(scale, scale);
  pen.fillStyle = colours.color;
  pen.font = `600 15px ${style.fontFamily}`;
  pen.fillText(`${symbols.join(", ")} · ${series.interval}`, EDGE_PX, 20);
  pen.font = `12px ${style.fontFamily}`;
  const more = simulated ? `${legend}   Simulated prices` : legend;
  pen.fillText(more, EDGE_PX, 38, picture.width / scale - 2 * EDGE_PX);
  return picture;
}
