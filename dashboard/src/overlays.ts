/** Draws lines over the chart's candles: averages, and other symbols. */

import { LineSeries, LineStyle } from "lightweight-charts";
import type {
  IChartApiBase,
  ISeriesApi,
  LineData,
  Time,
  UTCTimestamp,
  WhitespaceData,
} from "lightweight-charts";
import type { CandleBook, Row } from "./candles";
import type { Overlay } from "./studies";

interface Line {
  overlay: Overlay;
  series: ISeriesApi<"Line", Time>;
}

/** Past this many changed values a line is set as a whole. */
const FEW = 3;

export class Overlays {
  #lines: Line[] = [];
  #colours: string[] = [];
  #formatter: (value: number) => string = String;

  constructor(private readonly chart: IChartApiBase<Time>) {}

  get list(): Overlay[] {
    return this.#lines.map(({ overlay }) => overlay);
  }

  /** Draw these and no others; each is made from its first row on. */
  set(overlays: Overlay[], lastValueVisible: boolean): void {
    for (const { series } of this.#lines) this.chart.removeSeries(series);
    this.#lines = overlays.map((overlay) => ({ overlay, series: this.#series(lastValueVisible) }));
    this.paint(this.#colours);
  }

  /** Colours in the order of the lines. */
  paint(colours: string[]): void {
    this.#colours = colours;
    this.#lines.forEach(({ series }, at) => series.applyOptions({ color: colours[at % colours.length]! }));
  }

  configure(formatter: (value: number) => string): void {
    this.#formatter = formatter;
    for (const { series } of this.#lines) series.applyOptions({ priceFormat: this.#format });
  }

  /** The rows have changed from an index on; lines may have changed by themselves. */
  draw(book: CandleBook, from: number): void {
    for (const { overlay, series } of this.#lines) {
      const first = Math.min(from, overlay.changedFrom?.(book) ?? from);
      if (first >= book.rows.length) continue;
      overlay.update(book.rows, first);
      if (first < book.rows.length - FEW) {
        series.setData(book.rows.map((row, at) => point(row, overlay.values[at])));
        continue;
      }
      for (let at = first; at < book.rows.length; at += 1) {
        series.update(point(book.rows[at]!, overlay.values[at]), at < book.rows.length - 1);
      }
    }
  }

  get #format() {
    return { type: "custom" as const, formatter: this.#formatter, minMove: 0.000001 };
  }

  #series(lastValueVisible: boolean): ISeriesApi<"Line", Time> {
    return this.chart.addSeries(LineSeries, {
      lineWidth: 2,
      lineStyle: LineStyle.Solid,
      priceLineVisible: false,
      lastValueVisible,
      crosshairMarkerRadius: 3,
      priceFormat: this.#format,
    });
  }
}

function point(row: Row, value: number | null | undefined): LineData<Time> | WhitespaceData<Time> {
  const time = (row.time / 1_000_000) as UTCTimestamp;
  return value === null || value === undefined ? { time } : { time, value };
}
