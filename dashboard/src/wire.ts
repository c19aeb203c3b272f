/** Counts, in the browser, what the page's requests and its WebSocket carry. */

import type { Gap } from "./messages";
import type { Socket, Stream } from "./stream";
import type { Traffic } from "./traffic";

/** Told of every request by the browser itself, with the bytes that came over the wire. */
export function countRequests(traffic: Traffic): void {
  const observer = new PerformanceObserver((list) => {
    for (const entry of list.getEntries() as PerformanceResourceTiming[]) {
      if (!entry.name.includes("/v1/")) continue;
      traffic.request(entry.startTime + entry.duration, {
        bytes: entry.encodedBodySize,
        ms: entry.duration,
        status: entry.responseStatus ?? null,
      });
    }
  });
  observer.observe({ type: "resource", buffered: true });
}

/** A WebSocket whose messages are counted; they are ASCII but for names, so that characters are bytes. */
export function countedSocket(traffic: Traffic): (url: string) => Socket {
  return (url) => {
    const socket = new WebSocket(url);
    socket.addEventListener("open", () => traffic.connected());
    socket.addEventListener("message", ({ data }: MessageEvent<string>) =>
      traffic.received(performance.now(), data.length),
    );
    const send = socket.send.bind(socket);
    socket.send = (text: string) => {
      traffic.sent(text.length);
      send(text);
    };
    return socket as unknown as Socket;
  };
}

/** What the stream says of losses and of how they were made good. */
export function countHealing(traffic: Traffic, stream: Stream): void {
  stream.on((event) => {
    if (event.kind === "phase" && event.phase === "offline") traffic.lost();
    else if (event.kind === "joined") traffic.joined(event.recovered);
    else if (event.kind === "message" && event.replayed) traffic.replayed();
    else if (event.kind === "message" && event.message.type === "gap") missed(traffic, event.message);
  });
}

/** Candles miss the trades that are missing anyway: they are not counted twice. */
function missed(traffic: Traffic, { channel, from, to }: Gap): void {
  if (channel !== "candles") traffic.gap(from, to);
}
