import { describe, expect, test } from "vitest";
import { bytesText, Rate, SECONDS, Traffic } from "../src/traffic";

describe("a rate", () => {
  test("is what came in each of the last seconds that are over", () => {
    const rate = new Rate();
    rate.add(10_100);
    rate.add(10_900);
    rate.add(12_000, 5);
    expect(rate.last(12_500).slice(-3)).toEqual([0, 2, 0]);
    expect(rate.last(13_000).slice(-3)).toEqual([2, 0, 5]);
    expect(rate.last(13_000)).toHaveLength(SECONDS - 1);
  });

  test("forgets what is older than a minute, also after a long silence", () => {
    const rate = new Rate();
    rate.add(1_000, 7);
    expect(Math.max(...rate.last(59_900))).toBe(7);
    expect(Math.max(...rate.last(62_000))).toBe(0);
    rate.add(900_000, 3);
    expect(rate.last(901_000).at(-1)).toBe(3);
  });
});

describe("requests", () => {
  test("are counted with their bytes, and those that failed apart", () => {
    const traffic = new Traffic();
    traffic.request(0, { bytes: 100, ms: 4, status: 200 });
    traffic.request(0, { bytes: 50, ms: 8, status: 404 });
    traffic.request(0, { bytes: 0, ms: 1, status: 0 });
    traffic.request(0, { bytes: 7, ms: 2, status: null });
    expect(traffic.rest).toMatchObject({ requests: 4, failed: 2, bytes: 157 });
    expect(traffic.answerMs).toBe(4);
    expect(new Traffic().answerMs).toBeNull();
  });
});

describe("what was healed", () => {
  test("is one resume for each lost connection that went on where it was", () => {
    const traffic = new Traffic();
    traffic.joined(false);
    for (const recovered of [true, true, false]) {
      traffic.lost();
      traffic.joined(recovered);
      traffic.joined(recovered);
      if (recovered) traffic.replayed();
    }
    expect(traffic.healed).toEqual({ resumes: 2, replayed: 2, missed: 0, gaps: 0 });
  });

  test("names what is missing, to the number", () => {
    const traffic = new Traffic();
    traffic.gap(5, 5);
    traffic.gap(10, 19);
    expect(traffic.healed).toMatchObject({ missed: 11, gaps: 2 });
  });
});

test("bytes are told as people tell them", () => {
  expect([0, 999, 4_120, 2_400_000, 7_000_000_000_000].map(bytesText)).toEqual([
    ...["0 B", "999 B", "4.1 kB", "2.4 MB", "7000.0 GB"],
  ]);
});
