/** Draws candles and their volume with lightweight-charts, and says where the user looks. */

import {
  CandlestickSeries,
  ColorType,
  createChartEx,
  CrosshairMode,
  HistogramSeries,
  LineStyle,
  PriceScaleMode,
} from "lightweight-charts";
import type { IChartApiBase, ISeriesApi, LogicalRange, Time, UTCTimestamp } from "lightweight-charts";
import type { CandleBook, Row } from "./candles";
import { candleTime, price, roughVolume } from "./format";
import type { Interval, Micros } from "./messages";
import { CountdownLabel } from "./countdown_label";
import { Overlays } from "./overlays";
import type { Overlay } from "./studies";
import { tickMark, ZoneScale } from "./zone_scale";

/** So many candles before the oldest one are asked for before they are seen. */
const AHEAD = 120;
/** Empty candles after the newest one. */
const RIGHT_OFFSET = 6;
const PIXELS_AT_FIRST = 7.5;
const SHOWN_LEAST = 40;
const SHOWN_MOST = 2_000;
/** In this order lines over the candles take their colours. */
export const LINE_COLOURS = ["line-1", "line-2", "line-3", "line-4", "line-5", "line-6"];

export interface Shown {
  interval: Interval;
  decimals: number;
  zone: string;
  marketZone: string;
}

export interface ChartEvents {
  /** The oldest candles are about to come into sight. */
  reachesOldest: () => void;
  /** The crosshair stands on a candle, or nowhere. */
  points: (time: Micros | null) => void;
  /** The newest candle went out of sight or came back. */
  follows: (follows: boolean) => void;
}

export class Chart {
  #scale = new ZoneScale();
  #chart: IChartApiBase<Time>;
  #candles: ISeriesApi<"Candlestick", Time>;
  #volumes: ISeriesApi<"Histogram", Time>;
  #overlays: Overlays;
  #label = new CountdownLabel();
  #book: CandleBook | null = null;
  #fitted = 0;
  #drawnUntil: Micros = 0;
  #pointed: number | null = null;
  #colours = { up: "", down: "", upMark: "", downMark: "" };

  constructor(
    private readonly container: HTMLElement,
    private readonly events: ChartEvents,
  ) {
    this.#chart = createChartEx<Time, ZoneScale>(container, this.#scale, {
      autoSize: true,
      crosshair: { mode: CrosshairMode.Magnet },
      // Its logo comes with a style element, which our policy forbids; the page names and links its maker instead.
      layout: { attributionLogo: false, fontSize: 12, panes: { enableResize: true } },
      timeScale: { rightOffset: RIGHT_OFFSET, minBarSpacing: 0.4, borderVisible: false },
      // As wide as its prices will be, so that nothing moves when they come.
      rightPriceScale: { borderVisible: false, minimumWidth: 64 },
      localization: { locale: "en-GB" },
    }) as unknown as IChartApiBase<Time>;
    this.#candles = this.#chart.addSeries(CandlestickSeries, {
      priceLineStyle: LineStyle.Dashed,
      lastValueVisible: true,
      priceLineVisible: true,
    });
    this.#volumes = this.#chart.addSeries(
      HistogramSeries,
      {
        priceFormat: { type: "custom", formatter: roughVolume, minMove: 0.000001 },
        priceLineVisible: false,
        lastValueVisible: false,
      },
      1,
    );
    this.#overlays = new Overlays(this.#chart);
    this.#candles.attachPrimitive(this.#label);
    const [prices, volumes] = this.#chart.panes();
    prices?.setStretchFactor(4);
    volumes?.setStretchFactor(1);
    this.#candles.priceScale().applyOptions({ scaleMargins: { top: 0.14, bottom: 0.06 } });
    this.#volumes.priceScale().applyOptions({ scaleMargins: { top: 0.15, bottom: 0 } });
    this.paint();
    this.#chart.timeScale().subscribeVisibleLogicalRangeChange((range) => this.#ranged(range));
    this.#chart.subscribeCrosshairMove(({ time, sourceEvent }) => {
      // Keys have put it there; only a pointer takes it away.
      if (this.#pointed !== null && !sourceEvent) return;
      this.#pointed = null;
      this.events.points(time === undefined ? null : (time as number) * 1_000_000);
    });
  }

  /** Take the colours that the page has now. */
  paint(): void {
    const probe = document.createElement("i");
    this.container.append(probe);
    const colour = (name: string) => {
      probe.style.color = `var(--${name})`;
      return getComputedStyle(probe).color;
    };
    const [text, line, background] = [colour("chart-text"), colour("chart-line"), colour("surface")];
    const [up, down, mark] = [colour("up-mark"), colour("down-mark"), colour("chart-mark")];
    this.#colours = { up: colour("up-volume"), down: colour("down-volume"), upMark: up, downMark: down };
    this.#overlays.paint(LINE_COLOURS.map(colour));
    probe.remove();
    this.#chart.applyOptions({
      layout: {
        background: { type: ColorType.Solid, color: background },
        textColor: text,
        fontFamily: getComputedStyle(this.container).fontFamily,
        panes: { separatorColor: line, separatorHoverColor: line },
      },
      grid: { vertLines: { color: line }, horzLines: { color: line } },
      crosshair: {
        vertLine: { color: mark, labelBackgroundColor: mark },
        horzLine: { color: mark, labelBackgroundColor: mark },
      },
    });
    // Rising candles are hollow, so that it takes no colour to tell them from falling ones.
    this.#candles.applyOptions({
      ...{ upColor: background, borderUpColor: up, wickUpColor: up },
      ...{ downColor: down, borderDownColor: down, wickDownColor: down },
    });
    this.#all();
  }

  /** Show another series. */
  show(book: CandleBook, shown: Shown): void {
    this.#book = book;
    this.#fitted = 0;
    this.#pointed = null;
    this.#chart.clearCrosshairPosition();
    this.#candles.setData([]);
    this.#volumes.setData([]);
    this.configure(shown);
  }

  /** The same candles, told differently. */
  configure(shown: Shown): void {
    const { interval, decimals, zone, marketZone } = shown;
    const byDay = interval.endsWith("d") || interval.endsWith("w");
    this.#scale.zone = byDay ? marketZone : zone;
    this.#candles.applyOptions({
      priceFormat: {
        type: "custom",
        formatter: (value: number) => price(value, decimals),
        minMove: 1 / 10 ** decimals,
      },
    });
    this.#overlays.configure((value) => price(value, decimals));
    this.#chart.applyOptions({
      localization: {
        timeFormatter: (time: Time) => candleTime((time as number) * 1_000_000, interval, zone, marketZone),
      },
      timeScale: {
        timeVisible: !byDay,
        secondsVisible: interval.endsWith("s"),
        tickMarkFormatter: (time: Time, type: number) => tickMark(time, type, this.#scale.zone),
      },
    } as never);
    this.#all();
  }

  /** Lines over the candles. Where they are other symbols, all is drawn in per cent since the first candle in sight. */
  overlay(overlays: Overlay[], inPercent: boolean): void {
    const mode = inPercent ? PriceScaleMode.Percentage : PriceScaleMode.Normal;
    this.#chart.priceScale("right", 0).applyOptions({ mode });
    this.#overlays.set(overlays, inPercent);
    if (this.#book) this.#overlays.draw(this.#book, 0);
  }

  /** What is written below the last price; null for nothing. */
  label(text: string | null): void {
    this.#label.set(text, this.#candles.options().priceLineColor, this.#book?.rows.at(-1)?.close ?? null);
  }

  /** As a picture, without the crosshair. */
  picture(): HTMLCanvasElement {
    return this.#chart.takeScreenshot(true, false);
  }

  /** Draw what has changed. */
  draw(): void {
    const book = this.#book;
    if (!book) return;
    const changes = book.takeChanges();
    if (changes.all) {
      this.#all();
      return;
    }
    for (const row of changes.rows) {
      const old = row.time < this.#drawnUntil;
      this.#candles.update(candle(row), old);
      this.#volumes.update(this.#volume(row), old);
      this.#drawnUntil = Math.max(this.#drawnUntil, row.time);
    }
    const first = changes.rows[0];
    this.#overlays.draw(book, first ? book.firstAt(first.time) : book.rows.length);
    this.#colourLastPrice();
  }

  /** Move the crosshair by so many candles, from the newest on; the candle it comes to stand on. */
  step(by: number): Row | null {
    const rows = this.#book?.rows ?? [];
    if (!rows.length) return null;
    const from = this.#pointed ?? (by < 0 ? rows.length : rows.length - 2);
    const index = Math.min(Math.max(from + by, 0), rows.length - 1);
    const row = rows[index]!;
    this.#keepInSight(index);
    this.#pointed = index;
    this.#chart.setCrosshairPosition(row.close, seconds(row), this.#candles);
    this.events.points(row.time);
    return row;
  }

  stopPointing(): void {
    this.#pointed = null;
    this.#chart.clearCrosshairPosition();
    this.events.points(null);
  }

  zoom(factor: number): void {
    const range = this.#chart.timeScale().getVisibleLogicalRange();
    if (!range) return;
    const width = Math.min(Math.max((range.to - range.from) * factor, 10), SHOWN_MOST);
    this.#chart.timeScale().setVisibleLogicalRange({ from: range.to - width, to: range.to });
  }

  toNewest(): void {
    // Its animated sister is stopped by every tick.
    this.#chart.timeScale().scrollToPosition(RIGHT_OFFSET, false);
  }

  /** The indices of the first and last candle in sight; null where there is none. */
  get inSight(): { first: number; last: number } | null {
    const range = this.#chart.timeScale().getVisibleLogicalRange();
    const count = this.#book?.rows.length ?? 0;
    if (!range || !count || range.to < 0 || range.from > count - 1) return null;
    // As the library counts: a candle that is cut off by the edge is in sight, and what per cent are counted from.
    return { first: Math.max(Math.floor(range.from), 0), last: Math.min(Math.ceil(range.to), count - 1) };
  }

  #ranged(range: LogicalRange | null): void {
    const count = this.#book?.rows.length ?? 0;
    if (!range || !count) return;
    this.events.follows(range.to >= count - 1);
    if (range.from < AHEAD) this.events.reachesOldest();
  }

  #keepInSight(index: number): void {
    const scale = this.#chart.timeScale();
    const range = scale.getVisibleLogicalRange();
    if (!range) return;
    const width = range.to - range.from;
    if (index < range.from + 1) scale.setVisibleLogicalRange({ from: index - 2, to: index - 2 + width });
    else if (index > range.to - 1) scale.setVisibleLogicalRange({ from: index + 2 - width, to: index + 2 });
  }

  /** Rows in front of those that are drawn move nothing: the library counts from the newest. */
  #all(): void {
    const rows = this.#book?.rows;
    if (!rows) return;
    this.#book?.takeChanges();
    this.#candles.setData(rows.map(candle));
    this.#volumes.setData(rows.map((row) => this.#volume(row)));
    this.#overlays.draw(this.#book!, 0);
    this.#drawnUntil = rows.at(-1)?.time ?? 0;
    this.#colourLastPrice();
    // A few candles were no measure for how many are to be seen.
    if (rows.length > this.#fitted && this.#fitted < SHOWN_LEAST) {
      this.#fitted = rows.length;
      const count = Math.min(
        this.container.clientWidth / PIXELS_AT_FIRST,
        Math.max(rows.length, SHOWN_LEAST),
      );
      this.#chart
        .timeScale()
        .setVisibleLogicalRange({ from: rows.length - count, to: rows.length - 1 + RIGHT_OFFSET });
      this.#candles.priceScale().applyOptions({ autoScale: true });
    }
  }

  /** By itself the line would take the fill of a rising candle, which is none. */
  #colourLastPrice(): void {
    const last = this.#book?.rows.at(-1);
    const color = last && last.close < last.open ? this.#colours.downMark : this.#colours.upMark;
    if (this.#candles.options().priceLineColor !== color)
      this.#candles.applyOptions({ priceLineColor: color });
  }

  #volume(row: Row): { time: UTCTimestamp; value: number; color: string } {
    const color = row.close >= row.open ? this.#colours.up : this.#colours.down;
    return { time: seconds(row), value: row.volume, color };
  }
}

function seconds(row: Row): UTCTimestamp {
  return (row.time / 1_000_000) as UTCTimestamp;
}

function candle(row: Row): { time: UTCTimestamp; open: number; high: number; low: number; close: number } {
  return { time: seconds(row), open: row.open, high: row.high, low: row.low, close: row.close };
}
