/** The chart's time axis in any time zone: marks stand where the zone's hours and days begin, also through clock changes. */

import { defaultHorzScaleBehavior, TickMarkType } from "lightweight-charts";
import type { IHorzScaleBehavior, Time, UTCTimestamp } from "lightweight-charts";
import { mark, zoneOffset } from "./format";
import type { Mark } from "./format";

type Points = Parameters<IHorzScaleBehavior<Time>["fillWeightsForPoints"]>[0];

const Base = defaultHorzScaleBehavior();

/** The library weighs marks by UTC; here it is shown the times that a clock in the zone shows, and times stay what they are. */
export class ZoneScale extends Base {
  zone = "UTC";

  override fillWeightsForPoints(points: Points, startIndex: number): void {
    const first = Math.max(startIndex - 1, 0);
    const shown = points.slice(first).map((point) => {
      const seconds = point.originalTime as number;
      const time = this.convertHorzItemToInternal((seconds + zoneOffset(seconds, this.zone)) as UTCTimestamp);
      return { ...point, time };
    });
    super.fillWeightsForPoints(shown, startIndex - first);
    for (let index = startIndex; index < points.length; index += 1) {
      points[index]!.timeWeight = shown[index - first]!.timeWeight;
    }
  }
}

const KINDS: Record<TickMarkType, Mark> = {
  [TickMarkType.Year]: "year",
  [TickMarkType.Month]: "month",
  [TickMarkType.DayOfMonth]: "day",
  [TickMarkType.Time]: "time",
  [TickMarkType.TimeWithSeconds]: "second",
};

export function tickMark(time: Time, type: TickMarkType, zone: string): string {
  return mark(time as number, KINDS[type], zone);
}
