/** A label on the chart's price axis, below the last price: how long its candle stays open. */

import type {
  ISeriesPrimitive,
  ISeriesPrimitiveAxisView,
  SeriesAttachedParameter,
  Time,
} from "lightweight-charts";

/** Below the label of the last price, which is as high. */
const BELOW_PX = 17;

export class CountdownLabel implements ISeriesPrimitive<Time> {
  #attached: SeriesAttachedParameter<Time> | null = null;
  #text: string | null = null;
  #colour = "";
  #price: number | null = null;
  #views: ISeriesPrimitiveAxisView[] = [
    {
      coordinate: () => (this.#attached?.series.priceToCoordinate(this.#price ?? 0) ?? -99) + BELOW_PX,
      text: () => this.#text ?? "",
      textColor: () => "#ffffff",
      backColor: () => this.#colour,
      visible: () => this.#text !== null && this.#price !== null,
    },
  ];

  set(text: string | null, colour: string, price: number | null): void {
    if (text === this.#text && colour === this.#colour && price === this.#price) return;
    [this.#text, this.#colour, this.#price] = [text, colour, price];
    this.#attached?.requestUpdate();
  }

  attached(parameters: SeriesAttachedParameter<Time>): void {
    this.#attached = parameters;
  }

  detached(): void {
    this.#attached = null;
  }

  priceAxisViews(): readonly ISeriesPrimitiveAxisView[] {
    return this.#views;
  }
}
