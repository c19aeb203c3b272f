/** The panel that shows how this page talks to the server: what each door carries, what was lost and made good, and a way to try it. */

import { h, setAttribute, setText, the } from "./dom";
import { moment, size, zoneLabel } from "./format";
import { bytesText, SECONDS } from "./traffic";
import type { Traffic } from "./traffic";

/** Long enough to see it, and for something to be missed. */
export const DROP_MS = 5_000;

export interface Facts {
  state: string;
  /** Null where there is none. */
  connection: string | null;
  lagMs: number | null;
  roundTripMs: number | null;
  rate: number;
  events: readonly { ms: number; text: string }[];
  zone: string;
}

type Named = Record<string, HTMLElement>;
const SVG = "http://www.w3.org/2000/svg";
const GRAPH_PX = 34;

export class TalkPanel {
  #dialog = the<HTMLDialogElement>("connection");
  #facts: Named = {};
  #graphs: Record<"rest" | "socket", SVGPathElement>;
  #events = h("ol", { class: "events", tabindex: 0, "aria-labelledby": "events-title" });
  #eventsTitle = h("h3", { id: "events-title" });
  #drop: HTMLButtonElement;
  #told = "";

  constructor(
    private readonly traffic: Traffic,
    private readonly facts: () => Facts,
    drop: () => void,
  ) {
    this.#graphs = { rest: graphPath(), socket: graphPath() };
    const text = `Drop the connection for ${DROP_MS / 1000} s`;
    this.#drop = h("button", { type: "button", class: "drop", onclick: drop }, text);
    const rest = ["Requests", "Failed", "Received", "Answer in"];
    const socket = ["Connection", "Messages", "Received", "Sent", "Lag", "Round trip"];
    const healing = ["State", "Resumes", "Replayed", "Missed"];
    this.#dialog.replaceChildren(
      h("h2", { id: "connection-title" }, "How this page talks to the server"),
      h(
        "p",
        { class: "dim" },
        "History comes by REST, once; what happens after it by WebSocket. A position joins the two, so that nothing is missing between them.",
      ),
      h(
        "div",
        { class: "doors" },
        this.#door("REST", "requests a second", "rest", rest, graphOf(this.#graphs.rest)),
        this.#door("WebSocket", "messages a second", "socket", socket, graphOf(this.#graphs.socket)),
        this.#door("Healing", "so far", "healed", healing, this.#drop),
      ),
      this.#eventsTitle,
      this.#events,
      h("form", { method: "dialog" }, h("button", { autofocus: true }, "Close")),
    );
  }

  open(): void {
    if (this.#dialog.open) return;
    this.#dialog.showModal();
    this.draw();
  }

  /** Only what has changed is written: whoever reads or presses here is not disturbed. */
  draw(): void {
    if (!this.#dialog.open) return;
    const [facts, now] = [this.facts(), performance.now()];
    const { rest, socket, healed } = this.traffic;
    this.#write("rest", {
      Requests: size(rest.requests),
      Failed: size(rest.failed),
      Received: bytesText(rest.bytes),
      "Answer in": msText(this.traffic.answerMs),
    });
    this.#write("socket", {
      Connection: facts.connection ?? "none",
      Messages: `${size(socket.received)} (${facts.rate.toFixed(0)}/s)`,
      Received: bytesText(socket.bytes),
      Sent: `${size(socket.sent)}, ${bytesText(socket.bytesSent)}`,
      Lag: msText(facts.lagMs),
      "Round trip": msText(facts.roundTripMs),
    });
    this.#write("healed", {
      State: facts.state,
      Resumes: size(healed.resumes),
      Replayed: size(healed.replayed),
      Missed: size(healed.missed),
    });
    setAttribute(this.#graphs.rest, "d", graph(rest.rate.last(now)));
    setAttribute(this.#graphs.socket, "d", graph(socket.rate.last(now)));
    this.#drop.disabled = facts.connection === null;
    this.#drawEvents(facts);
  }

  #drawEvents({ events, zone }: Facts): void {
    setText(this.#eventsTitle, `Events (${zoneLabel(zone, Date.now())})`);
    const told = `${zone}${events.length}${events[0]?.ms}${events[0]?.text}`;
    if (told === this.#told) return;
    this.#told = told;
    const rows = events.map(({ ms, text }) => h("li", {}, h("time", {}, moment(ms, zone)), ` ${text}`));
    const none = h("li", { class: "dim" }, "Nothing has happened on this connection but ticks.");
    this.#events.replaceChildren(...(rows.length ? rows : [none]));
  }

  #door(title: string, about: string, key: string, names: string[], below: Element): HTMLElement {
    const rows = names.map((name) => {
      const value = h("dd", { "data-fact": `${key} ${name}` }, "–");
      this.#facts[`${key} ${name}`] = value;
      return h("div", {}, h("dt", {}, name), value);
    });
    return h("section", {}, h("h3", {}, title, h("span", {}, about)), h("dl", {}, ...rows), below);
  }

  #write(key: string, values: Record<string, string>): void {
    for (const [name, value] of Object.entries(values)) setText(this.#facts[`${key} ${name}`]!, value);
  }
}

function msText(ms: number | null): string {
  return ms === null ? "not known" : `${ms.toFixed(ms < 10 ? 1 : 0)} ms`;
}

function graphPath(): SVGPathElement {
  return document.createElementNS(SVG, "path");
}

function graphOf(path: SVGPathElement): SVGSVGElement {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", `0 0 ${SECONDS - 2} ${GRAPH_PX}`);
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("aria-hidden", "true");
  path.setAttribute("vector-effect", "non-scaling-stroke");
  svg.append(path);
  return svg;
}

function graph(counts: number[]): string {
  const most = Math.max(...counts, 1);
  const y = (count: number) => (GRAPH_PX - 2 - ((GRAPH_PX - 4) * count) / most).toFixed(1);
  return `M${counts.map((count, at) => `${at} ${y(count)}`).join("L")}`;
}
