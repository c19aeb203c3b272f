/** Keeps one WebSocket to the service: connects again with backoff, and goes on from where each topic stood. */

import { backoffMs } from "./backoff";
import { parse, topicKey, topicOf } from "./messages";
import type { Message, Position, Subscribed, Tick, Topic } from "./messages";
import { Standing } from "./standing";
import type { Resumed } from "./standing";
import { DELIVERIES, grouped, request, topicFromKey } from "./subscriptions";
import type { Deliver } from "./subscriptions";

export type Phase = "connecting" | "open" | "offline";

export type StreamEvent =
  | { kind: "phase"; phase: Phase; reason: string; retryMs: number }
  /** `replayed`: it was missed while there was no connection, and comes now. */
  | { kind: "message"; message: Message; replayed?: true }
  /** Live messages of the topic follow from `position` on; with `recovered`, first everything that was missed. */
  | { kind: "joined"; topic: Topic; position: Position; recovered: boolean }
  | ({ kind: "resumed" } & Resumed)
  | { kind: "refused"; topic: Topic; code: string };

/** The part of a browser's WebSocket that is used. */
export interface Socket {
  readyState: number;
  send(text: string): void;
  close(code?: number): void;
  onopen: ((event: never) => void) | null;
  onmessage: ((event: { data: string }) => void) | null;
  onclose: ((event: { code: number; reason: string }) => void) | null;
  onerror: ((event: never) => void) | null;
}

export interface StreamOptions {
  /** ws://host:port/v1/stream */
  url: string;
  /** Something else than the WebSocket there is. */
  connect?: (url: string) => Socket;
  /** In [0, 1). */
  random?: () => number;
  /** In milliseconds, and only rising. */
  now?: () => number;
}

interface WithWebSocket {
  WebSocket: new (url: string) => Socket;
}

const OPEN = 1;
const CONNECT_MS = 10_000;
const HEARTBEAT_MS = 10_000;
const SILENT_BEATS = 2.5;
/** A connection that lasted this long was a good one: the next failure starts counting anew. */
const GOOD_MS = 5_000;
const ASK_AGAIN_MS = 2_000;

interface Wanted {
  topic: Topic;
  owners: Record<Deliver, number>;
}

export class Stream {
  phase: Phase = "connecting";
  #options: Required<StreamOptions>;
  #listeners = new Set<(event: StreamEvent) => void>();
  #wanted = new Map<string, Wanted>();
  #asked = new Map<number, Topic[]>();
  #subscribed = new Map<string, Deliver>();
  #refused = new Set<string>();
  #standing = new Standing();
  #pending = new Set<string>();
  #flushing = false;
  #socket: Socket | null = null;
  #attempt = 0;
  #openedAt = 0;
  #id = 0;
  #retry: ReturnType<typeof setTimeout> | undefined;
  #silence: ReturnType<typeof setTimeout> | undefined;
  #silenceMs = HEARTBEAT_MS * SILENT_BEATS;
  #closed = false;

  constructor(options: StreamOptions) {
    this.#options = {
      connect: (url) => new (globalThis as unknown as WithWebSocket).WebSocket(url),
      random: Math.random,
      now: () => performance.now(),
      ...options,
    };
  }

  /** Be told of everything; call the result to be told no more. */
  on(listener: (event: StreamEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Where a topic stands on this connection; undefined until it is joined. */
  position(topic: Topic): Position | undefined {
    return this.#standing.at(topicKey(topic));
  }

  /**
   * Want a topic, now and after every reconnect, as often as it is asked for less often than it is given up. As long as
   * somebody wants all of its messages, all of them come.
   */
  subscribe(topic: Topic, deliver: Deliver = "all"): void {
    const key = topicKey(topic);
    const wanted = this.#wanted.get(key) ?? { topic, owners: { all: 0, latest: 0, rarely: 0 } };
    wanted.owners[deliver] += 1;
    this.#wanted.set(key, wanted);
    this.#changed(key);
  }

  unsubscribe(topic: Topic, deliver: Deliver = "all"): void {
    const key = topicKey(topic);
    const wanted = this.#wanted.get(key);
    if (!wanted) return;
    wanted.owners[deliver] -= 1;
    if (DELIVERIES.every((each) => !wanted.owners[each])) {
      this.#wanted.delete(key);
      if (!this.#subscribed.has(key)) this.#standing.forget(key);
    }
    this.#changed(key);
  }

  /** Whether every wanted topic is joined, or cannot be, and none is still being replayed. */
  get settled(): boolean {
    if (this.#standing.isReplaying) return false;
    return [...this.#wanted.keys()].every((key) => this.#standing.at(key) || this.#refused.has(key));
  }

  connect(): void {
    clearTimeout(this.#retry);
    if (this.#closed || this.#socket) return;
    this.#setPhase("connecting", "", 0);
    const socket = this.#options.connect(this.#options.url);
    this.#socket = socket;
    socket.onopen = () => this.#opened(socket);
    socket.onmessage = (event) => this.#received(socket, event.data);
    socket.onclose = (event) => this.#lost(socket, event.code, event.reason);
    socket.onerror = () => undefined; // onclose follows, and says more
    this.#expectWithin(CONNECT_MS);
  }

  /** The network may be back: do not wait for the next attempt. */
  retryNow(): void {
    if (this.#socket) return;
    this.#attempt = 0;
    this.connect();
  }

  /** Lose the connection on purpose, and come back after so long. */
  drop(awayMs: number): void {
    const socket = this.#socket;
    if (!socket) return;
    this.#lost(socket, 4000, "dropped by hand", awayMs);
    socket.close(4000);
  }

  ping(): number | null {
    return this.#send({ op: "ping" });
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#retry);
    clearTimeout(this.#silence);
    const socket = this.#socket;
    this.#socket = null;
    socket?.close(1000);
  }

  #emit(event: StreamEvent): void {
    for (const listener of this.#listeners) listener(event);
  }

  #setPhase(phase: Phase, reason: string, retryMs: number): void {
    this.phase = phase;
    this.#emit({ kind: "phase", phase, reason, retryMs });
  }

  #opened(socket: Socket): void {
    if (socket !== this.#socket) return;
    this.#openedAt = this.#options.now();
    this.#setPhase("open", "", 0);
    for (const key of this.#wanted.keys()) this.#changed(key);
  }

  #lost(socket: Socket, code: number, reason: string, awayMs: number | null = null): void {
    if (socket !== this.#socket) return;
    clearTimeout(this.#silence);
    this.#socket = null;
    const lasted = this.phase === "open" ? this.#options.now() - this.#openedAt : 0;
    if (lasted > GOOD_MS) this.#attempt = 0;
    this.#asked.clear();
    this.#subscribed.clear();
    this.#refused.clear();
    this.#standing.lost();
    const retryMs = awayMs ?? backoffMs(this.#attempt, code, this.#options.random());
    this.#attempt += 1;
    this.#retry = setTimeout(() => this.connect(), retryMs);
    this.#setPhase("offline", reason, retryMs);
  }

  /** A connection that says nothing for too long is dead, even if nobody has noticed: closing it politely could take minutes. */
  #expectWithin(ms: number): void {
    clearTimeout(this.#silence);
    this.#silence = setTimeout(() => {
      const socket = this.#socket;
      if (!socket) return;
      this.#lost(socket, 4000, "nothing heard");
      socket.close(4000);
    }, ms);
  }

  #received(socket: Socket, text: string): void {
    if (socket !== this.#socket) return;
    this.#expectWithin(this.#silenceMs);
    const message = parse(text);
    if (!message) return;
    switch (message.type) {
      case "welcome":
        this.#silenceMs = message.heartbeat_ms * SILENT_BEATS;
        break;
      case "subscribed":
        this.#joined(message);
        break;
      case "trade":
      case "quote":
      case "candle":
        this.#tick(message);
        return;
      case "gap":
        this.#standing.gap(message, message.from, message.to);
        break;
      case "reset":
        this.#standing.reset(message, { epoch: message.epoch, seq: message.seq });
        break;
      case "error":
        this.#failed(message.id, message.code, message.retry);
        break;
    }
    this.#emit({ kind: "message", message });
    // Behind these nothing may follow of what was missed.
    if (message.type === "reset" || message.type === "gap") this.#finish(message);
  }

  /** Pass a tick on, unless it was before or nobody wants it any more. */
  #tick(tick: Tick): void {
    const topic = topicOf(tick);
    if (!this.#wanted.has(topicKey(topic))) return;
    const taken = this.#standing.take(tick);
    if (!taken) return;
    this.#emit({ kind: "message", message: tick, ...(taken.replayed ? { replayed: true } : {}) });
    this.#finish(topic);
  }

  #finish({ channel, interval, symbol }: Topic): void {
    const resumed = this.#standing.finished({ channel, ...(interval ? { interval } : {}), symbol });
    if (resumed) this.#emit({ kind: "resumed", ...resumed });
  }

  #joined(message: Subscribed): void {
    const topicFor = (symbol: string): Topic => ({
      channel: message.channel,
      ...(message.interval ? { interval: message.interval } : {}),
      symbol,
    });
    if (message.id !== undefined) this.#asked.delete(message.id);
    for (const [symbol, { recovered, ...position }] of Object.entries(message.positions)) {
      const topic = topicFor(symbol);
      this.#standing.joined(topic, position, recovered);
      this.#emit({ kind: "joined", topic, position, recovered: recovered ?? false });
    }
    for (const { symbol, code } of message.errors) {
      const topic = topicFor(symbol);
      this.#refuse(topic, code);
    }
  }

  #refuse(topic: Topic, code: string): void {
    this.#subscribed.delete(topicKey(topic));
    this.#refused.add(topicKey(topic));
    this.#emit({ kind: "refused", topic, code });
  }

  /** A whole subscription was refused; one that may be tried again is. */
  #failed(id: number | undefined, code: string, retry: boolean): void {
    const topics = id === undefined ? undefined : this.#asked.get(id);
    if (id === undefined || !topics) return;
    this.#asked.delete(id);
    const keys = topics.map(topicKey);
    const resumed = keys.filter((key) => this.#standing.refused(key, retry)).length > 0;
    for (const key of keys) this.#subscribed.delete(key);
    // What must not be resumed may still be had from now on.
    if (!retry && !resumed) {
      for (const topic of topics) this.#refuse(topic, code);
      return;
    }
    setTimeout(() => {
      for (const topic of topics) this.#changed(topicKey(topic));
    }, ASK_AGAIN_MS);
  }

  /** Ask for what has changed once the caller is done: a watchlist makes one request, not one a symbol. */
  #changed(key: string): void {
    this.#pending.add(key);
    if (this.#flushing) return;
    this.#flushing = true;
    queueMicrotask(() => this.#flush());
  }

  #flush(): void {
    this.#flushing = false;
    const keys = [...this.#pending];
    this.#pending.clear();
    if (this.#socket?.readyState !== OPEN) return;
    const wanted = keys.flatMap((key) => this.#wanted.get(key) ?? []);
    for (const deliver of DELIVERIES) {
      const fresh = wanted
        .filter((each) => deliverOf(each) === deliver)
        .map(({ topic }) => topic)
        .filter((topic) => this.#subscribed.get(topicKey(topic)) !== deliver);
      for (const group of grouped(fresh)) this.#ask(group, deliver);
    }
    const gone = keys.filter((key) => this.#subscribed.has(key) && !this.#wanted.has(key));
    for (const group of grouped(gone.map(topicFromKey))) {
      for (const key of group.map(topicKey)) {
        this.#subscribed.delete(key);
        this.#standing.forget(key);
      }
      this.#send(request("unsubscribe", group));
    }
  }

  #ask(group: Topic[], deliver: Deliver): void {
    const id = this.#send(request("subscribe", group, deliver, this.#standing.left));
    if (id === null) return;
    this.#asked.set(id, group);
    for (const key of group.map(topicKey)) {
      this.#subscribed.set(key, deliver);
      this.#standing.asked(key);
    }
  }

  #send(fields: object): number | null {
    if (this.#socket?.readyState !== OPEN) return null;
    this.#id += 1;
    this.#socket.send(JSON.stringify({ ...fields, id: this.#id }));
    return this.#id;
  }
}

function deliverOf({ owners }: Wanted): Deliver {
  return DELIVERIES.find((each) => owners[each])!;
}
