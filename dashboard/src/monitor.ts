/** Watches the connection for the user: the badge, its numbers, what happened, and a notice of what needs to be known. */

import { badgeState, happening, LABELS, Staleness, staleText, together } from "./badge";
import type { BadgeState, Happening } from "./badge";
import { setAttribute, setText, the } from "./dom";
import { Meter } from "./meter";
import type { Message, Topic } from "./messages";
import type { Series } from "./series";
import type { Stream, StreamEvent } from "./stream";
import { DROP_MS, TalkPanel } from "./talk_panel";
import type { Facts } from "./talk_panel";
import type { Traffic } from "./traffic";

const TICK_MS = 1_000;
const PING_MS = 10_000;
const KEPT = 60;
const NOTICE_MS = 12_000;
const TOGETHER_MS = 2_000;
/** So long the badge says what was replayed. */
const REPLAYED_MS = 5_000;

interface Told extends Happening {
  ms: number;
}

export class Monitor {
  #meter = new Meter();
  #staleness = new Staleness();
  #pings = new Map<number, number>();
  #told: Told[] = [];
  #state: BadgeState = "connecting";
  #wasLive = false;
  #lostAt: number | null = null;
  #replayed = "";
  #forget: ReturnType<typeof setTimeout> | undefined;
  #connection = "";
  #notice = "";
  #lastPing = 0;
  #hide: ReturnType<typeof setTimeout> | undefined;
  #panel: TalkPanel;

  constructor(
    private readonly stream: Stream,
    private readonly series: () => Series | null,
    private readonly zone: () => string,
    traffic: Traffic,
  ) {
    this.#panel = new TalkPanel(
      traffic,
      () => this.#facts,
      () => stream.drop(DROP_MS),
    );
    stream.on((event) => this.#take(event));
    setInterval(() => this.#everySecond(), TICK_MS);
    the("badge").addEventListener("click", () => this.#panel.open());
  }

  /** The server's clock, as far as it is known, in milliseconds since 1970. */
  get serverMs(): number {
    const ahead = this.#meter.aheadMs;
    return ahead === null ? Date.now() : performance.now() + ahead;
  }

  /** Something that the badge depends on may have changed. */
  check(): void {
    const series = this.series();
    const joined =
      this.stream.settled &&
      (!series || series.state === "joined" || (series.error !== null && !series.error.passing));
    const condition = {
      phase: this.stream.phase,
      wasLive: this.#wasLive,
      joined,
      stale: this.#staleness.now,
    };
    const state = badgeState(condition);
    if (state === "live" || state === "stale") this.#wasLive = true;
    if (state !== this.#state) this.#changed(state);
    setAttribute(the("badge"), "title", this.#title());
  }

  #take(event: StreamEvent): void {
    const now = performance.now();
    if (event.kind === "phase") {
      if (event.phase === "offline") this.#offline(event.reason);
      if (event.phase === "open") this.#meter.begin(now);
    } else if (event.kind === "message") {
      this.#message(event.message, now, event.replayed ?? false);
    } else if (event.kind === "resumed") {
      this.#resumed(event.topic, event.replayed, event.missed);
    }
    if (event.kind !== "message" || !("seq" in event.message)) this.check();
  }

  #message(message: Message, now: number, replayed: boolean): void {
    // How late something comes that was missed says nothing about the connection.
    this.#meter.count(now, replayed ? null : tickTime(message));
    this.#staleness.take(message);
    if (message.type === "welcome") {
      this.#connection = message.connection;
      this.#ping(now);
    } else if (message.type === "pong" && message.id !== undefined) {
      const sent = this.#pings.get(message.id);
      this.#pings.delete(message.id);
      if (sent !== undefined) this.#meter.pong(sent, now, message.time / 1000);
    }
    const told = happening(message);
    if (told) this.#tell(told);
  }

  /** What was missed has come: of what is shown tick by tick, how much; a hole has been told of by itself. */
  #resumed({ channel, symbol }: Topic, replayed: number, missed: number): void {
    if (channel !== "trades" || symbol !== this.series()?.symbol) return;
    const text = `${replayed} replayed, ${missed} missed`;
    this.#tell({ at: null, text: `${symbol}: of the trades while away ${text}`, serious: false });
    this.#replayed = text;
    clearTimeout(this.#forget);
    this.#forget = setTimeout(() => {
      this.#replayed = "";
      this.#everySecond();
    }, REPLAYED_MS);
    this.#everySecond();
  }

  #offline(reason: string): void {
    this.#pings.clear();
    if (!this.#wasLive || this.#lostAt !== null) return;
    this.#lostAt = Date.now();
    this.#tell({ at: null, text: `Connection lost${reason ? `: ${reason}` : ""}`, serious: false });
  }

  #changed(state: BadgeState): void {
    this.#state = state;
    const badge = the("badge");
    setAttribute(badge, "data-state", state);
    setText(the("badge-label"), LABELS[state]);
    document.documentElement.dataset.connection = state;
    if (state === "live" && this.#lostAt !== null) {
      const seconds = Math.max(1, Math.round((Date.now() - this.#lostAt) / 1000));
      this.#lostAt = null;
      this.#tell({
        at: null,
        text: `Live again after ${seconds} s`,
        serious: false,
      });
    }
    this.#drawNotice();
    this.#everySecond();
  }

  #everySecond(): void {
    const now = performance.now();
    const up = this.stream.phase === "open";
    if (up && (!this.#meter.isSure || now - this.#lastPing > PING_MS)) this.#ping(now);
    const lag = this.#meter.lagMs(now);
    const numbers = up
      ? [lag === null ? null : `${Math.round(lag)} ms`, `${Math.round(this.#meter.rate(now))}/s`]
      : [];
    const shown = numbers.filter((text) => text !== null).join(" · ");
    setText(the("badge-numbers"), (up && this.#replayed) || shown);
    this.check();
    this.#panel.draw();
  }

  #ping(now: number): void {
    this.#lastPing = now;
    const id = this.stream.ping();
    if (id !== null) this.#pings.set(id, now);
  }

  #tell(happening: Happening): void {
    const ms = happening.at === null ? Date.now() : happening.at / 1000;
    const latest = this.#told[0];
    // What befalls a hundred symbols at once is one event.
    const told = latest && ms - latest.ms < TOGETHER_MS ? together(latest, happening) : null;
    if (told) this.#told[0] = { ...told, ms };
    else this.#told.unshift({ ...happening, ms });
    this.#told.length = Math.min(this.#told.length, KEPT);
    if (happening.serious) {
      this.#notice = (told ?? happening).text;
      clearTimeout(this.#hide);
      this.#hide = setTimeout(() => {
        this.#notice = "";
        this.#drawNotice();
      }, NOTICE_MS);
      this.#drawNotice();
    }
    this.#panel.draw();
  }

  /** What holds at the moment, and what has just happened; nothing where all is well. */
  #drawNotice(): void {
    const stale = `Prices may be old: ${this.#stale()}.`;
    if (this.#state === "stale") this.#showNotice(stale, "stale");
    else if (this.#state === "offline")
      this.#showNotice("Not connected: prices stand still. Trying again.", "offline");
    else this.#showNotice(this.#notice && `${this.#notice}.`, "event");
  }

  #showNotice(text: string, kind: string): void {
    const notice = the("notice");
    setText(notice, text);
    setAttribute(notice, "data-kind", kind || null);
  }

  #stale(): string {
    return this.#staleness.now.map(staleText).join("; ");
  }

  #title(): string {
    const lag = this.#meter.lagMs(performance.now());
    const text = lag === null ? "" : `; ticks arrive ${Math.round(lag)} ms after their time`;
    return `${LABELS[this.#state]}${this.#state === "stale" ? `: ${this.#stale()}` : ""}${text}`;
  }

  /** What there is to tell in full. */
  get #facts(): Facts {
    const now = performance.now();
    return {
      state: this.#state === "stale" ? `Stale: ${this.#stale()}` : LABELS[this.#state],
      connection: this.stream.phase === "open" ? this.#connection : null,
      lagMs: this.#meter.lagMs(now),
      roundTripMs: this.#meter.roundTripMs,
      rate: this.#meter.rate(now),
      events: this.#told,
      zone: this.zone(),
    };
  }
}

/** The time of a tick that has just been made; a snapshot's may be as old as it likes. */
function tickTime(message: Message): number | null {
  if (message.type !== "trade" && message.type !== "quote") return null;
  return message.snapshot ? null : message.time / 1000;
}
