/** Where each topic stands, over every loss of the connection: what to resume from, what is being replayed; pure. */

import { topicKey, topicOf } from "./messages";
import type { Micros, Position, Tick, Topic } from "./messages";
import { topicFromKey } from "./subscriptions";

/** What was missed of a topic, once all of it that is still there has come. */
export interface Resumed {
  topic: Topic;
  replayed: number;
  missed: number;
}

export class Standing {
  #positions = new Map<string, Position>();
  #candles = new Map<string, LatestCandle>();
  #replays = new Map<string, Replay>();
  /** Where topics stood when the connection was lost, until that is asked for. */
  #left = new Map<string, Position>();
  /** The same from then on, until they are joined again. */
  #resuming = new Map<string, Position>();

  /** On this connection; undefined until the topic is joined. */
  at(key: string): Position | undefined {
    return this.#positions.get(key);
  }

  get isReplaying(): boolean {
    return this.#replays.size > 0;
  }

  /** What to resume from. */
  get left(): ReadonlyMap<string, Position> {
    return this.#left;
  }

  asked(key: string): void {
    const left = this.#left.get(key);
    if (left) this.#resuming.set(key, left);
    this.#left.delete(key);
  }

  /** What was asked for was not given; whether it was asked to be resumed, which is asked for again where `again`. */
  refused(key: string, again: boolean): boolean {
    const left = this.#resuming.get(key);
    if (again && left) this.#left.set(key, left);
    return this.#resuming.delete(key);
  }

  forget(key: string): void {
    for (const kept of [this.#positions, this.#candles, this.#replays, this.#left, this.#resuming])
      kept.delete(key);
  }

  lost(): void {
    for (const [key, position] of this.#resuming) this.#left.set(key, position);
    for (const [key, position] of this.#positions) this.#left.set(key, this.#resumeFrom(key, position));
    for (const kept of [this.#positions, this.#candles, this.#replays, this.#resuming]) kept.clear();
  }

  /** Messages follow the position; where it was asked to resume, first those that were missed. */
  joined(topic: Topic, position: Position, recovered: boolean | undefined): void {
    const key = topicKey(topic);
    if (recovered !== undefined) this.#resume(key, topic, position, recovered);
    // Asked for otherwise while it is being replayed, it goes on from where it stands.
    else if (!this.#replays.has(key)) this.#positions.set(key, { ...position });
    this.#resuming.delete(key);
  }

  #resume(key: string, topic: Topic, position: Position, recovered: boolean): void {
    const from = Math.min(this.#resuming.get(key)?.seq ?? position.seq, position.seq);
    this.#positions.set(key, { epoch: position.epoch, seq: from });
    // The last trade may have touched no candle, so of candles nothing tells that all have come.
    if (topic.channel === "candles" || (recovered && from === position.seq)) return;
    this.#replays.set(key, new Replay(position.seq));
  }

  /** Note a tick; null where it was before, else whether it was missed and comes now. */
  take(tick: Tick): { replayed: boolean } | null {
    const key = topicKey(topicOf(tick));
    const position = this.#positions.get(key);
    if (!position) return null;
    // A closing candle carries the number of its last trade, which its forming ones had: candles have a rule of their own.
    if (tick.type !== "candle" && !tick.snapshot && tick.seq <= position.seq) return null;
    if (tick.type === "candle") {
      const latest = this.#candles.get(key) ?? new LatestCandle();
      latest.take(tick.time, tick.seq);
      this.#candles.set(key, latest);
    }
    position.seq = Math.max(position.seq, tick.seq);
    return { replayed: this.#replays.get(key)?.takes(tick.seq) ?? false };
  }

  /** Numbers up to one will not come. */
  gap(topic: Topic, from: number, to: number): void {
    const position = this.#positions.get(topicKey(topic));
    if (position) position.seq = Math.max(position.seq, to);
    const replay = this.#replays.get(topicKey(topic));
    if (replay) replay.missed += to - from + 1;
  }

  /** Numbers go on behind another one. */
  reset(topic: Topic, position: Position): void {
    this.#positions.set(topicKey(topic), position);
    this.#candles.delete(topicKey(topic));
  }

  /** What has come of the topic's replay, once that is all. */
  finished(topic: Topic): Resumed | null {
    const key = topicKey(topic);
    const replay = this.#replays.get(key);
    if (!replay || this.#positions.get(key)!.seq < replay.until) return null;
    this.#replays.delete(key);
    return { topic, replayed: replay.replayed, missed: replay.missed };
  }

  #resumeFrom(key: string, position: Position): Position {
    if (topicFromKey(key).channel !== "candles") return { ...position };
    return (this.#candles.get(key) ?? new LatestCandle()).resumeFrom(position);
  }
}

/** What was missed of a topic, while it comes. */
class Replay {
  replayed = 0;
  missed = 0;

  constructor(
    /** The number behind which messages are live. */
    readonly until: number,
  ) {}

  /** Count a tick; whether it is one of those that were missed. */
  takes(seq: number): boolean {
    if (seq > this.until) return false;
    this.replayed += 1;
    return true;
  }
}

/** The newest candle of a topic that has come. */
class LatestCandle {
  #time: Micros = -Infinity;
  #seq = Infinity;

  take(time: Micros, seq: number): void {
    if (time < this.#time) return;
    [this.#time, this.#seq] = [time, seq];
  }

  /**
   * Where to go on. A candle that closes without another trade is told of only to those who ask for its last one again; and
   * the correction of an older candle has a number that newer trades, not yet told of, may stand before.
   */
  resumeFrom({ epoch, seq }: Position): Position {
    return { epoch, seq: Math.max(0, Math.min(seq, this.#seq) - 1) };
  }
}
