/** Lines over candles: moving averages of their closes, and the day's volume-weighted average price; pure. */

import type { CandleBook, Row } from "./candles";
import { zoneOffset } from "./format";

export type Study = { kind: "sma" | "ema"; period: number } | { kind: "vwap" };

export const PERIOD_LEAST = 2;
export const PERIOD_MOST = 500;
export const STUDIES_MOST = 6;
const DAY_S = 86_400;

/** A value for each row; null where there is none yet. */
export type Values = (number | null)[];

export interface Overlay {
  key: string;
  label: string;
  /** What it is called in full. */
  title: string;
  values: Values;
  /** Make the values anew from this row on. */
  update(rows: readonly Row[], from: number): void;
  /** The first row whose value has changed though the row has not; null where there is none. */
  changedFrom?(book: CandleBook): number | null;
}

/** A study as one word, for addresses: `sma20`, `vwap`. */
export function studyKey(study: Study): string {
  return study.kind === "vwap" ? "vwap" : `${study.kind}${study.period}`;
}

export function readStudy(text: string): Study | null {
  if (text === "vwap") return { kind: "vwap" };
  const found = /^(sma|ema)(\d{1,3})$/.exec(text);
  const period = Number(found?.[2]);
  if (!found || period < PERIOD_LEAST || period > PERIOD_MOST) return null;
  return { kind: found[1] as "sma" | "ema", period };
}

/** Each study once, in order, and not more than are told apart by their colours. */
export function distinct(studies: Study[]): Study[] {
  return [...new Map(studies.map((study) => [studyKey(study), study])).values()].slice(0, STUDIES_MOST);
}

export function overlayOf(study: Study, zone: string): Overlay {
  if (study.kind === "vwap") return new Vwap(zone);
  return study.kind === "sma" ? new Simple(study.period) : new Exponential(study.period);
}

/** The mean of the last closes. */
class Simple implements Overlay {
  readonly key: string;
  readonly label: string;
  readonly title: string;
  values: Values = [];

  constructor(private readonly period: number) {
    this.key = `sma${period}`;
    this.label = `SMA ${period}`;
    this.title = `Simple moving average of ${period} closes`;
  }

  update(rows: readonly Row[], from: number): void {
    this.values.length = rows.length;
    for (let at = from; at < rows.length; at += 1) this.values[at] = mean(rows, at, this.period);
  }
}

/** Closes weighted by 2 / (period + 1), and all before them by what is left; it begins as the mean of the first ones. */
class Exponential implements Overlay {
  readonly key: string;
  readonly label: string;
  readonly title: string;
  values: Values = [];

  constructor(private readonly period: number) {
    this.key = `ema${period}`;
    this.label = `EMA ${period}`;
    this.title = `Exponential moving average of ${period} closes`;
  }

  update(rows: readonly Row[], from: number): void {
    this.values.length = rows.length;
    const weight = 2 / (this.period + 1);
    for (let at = from; at < rows.length; at += 1) {
      const before = this.values[at - 1] ?? null;
      this.values[at] =
        before === null ? mean(rows, at, this.period) : before + weight * (rows[at]!.close - before);
    }
  }
}

/** Sum of price times size since the midnight of the market, by the volume since then. */
class Vwap implements Overlay {
  readonly key = "vwap";
  readonly label = "VWAP";
  readonly title = "Volume-weighted average price since the market's midnight";
  values: Values = [];
  #sums: { day: number; amount: number; volume: number }[] = [];

  constructor(private readonly zone: string) {}

  update(rows: readonly Row[], from: number): void {
    this.values.length = this.#sums.length = rows.length;
    for (let at = from; at < rows.length; at += 1) {
      const { time, vwap, close, volume } = rows[at]!;
      const seconds = time / 1_000_000;
      const day = Math.floor((seconds + zoneOffset(seconds, this.zone)) / DAY_S);
      const before = this.#sums[at - 1];
      const goesOn = before?.day === day ? before : { amount: 0, volume: 0 };
      const sum = {
        day,
        amount: goesOn.amount + (vwap ?? close) * volume,
        volume: goesOn.volume + volume,
      };
      this.#sums[at] = sum;
      this.values[at] = sum.volume ? sum.amount / sum.volume : null;
    }
  }
}

function mean(rows: readonly Row[], at: number, period: number): number | null {
  if (at < period - 1) return null;
  let sum = 0;
  for (let index = at - period + 1; index <= at; index += 1) sum += rows[index]!.close;
  return sum / period;
}
