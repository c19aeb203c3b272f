// The small page: the last trade of every symbol, on nothing but the public WebSocket and REST.
const status = document.getElementById("status");
const notice = document.getElementById("notice");
const rows = document.getElementById("rows");
const drawn = new Map(); // symbol -> the cells of its row
const newest = new Map(); // symbol -> its newest trade
const changed = new Set(); // symbols whose row is to be drawn
const names = new Map();
const previous = new Map(); // symbol -> the close of the day before
const clock = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });
let backoff = 500;
let frame = 0;

function show(state, text) {
  status.dataset.state = state;
  status.textContent = text;
}

function tell(text) {
  notice.hidden = !text;
  notice.textContent = text;
}

async function loadNames() {
  for (let next = "", more = true; more; ) {
    const answer = await fetch(`/v1/symbols?limit=1000${next && `&cursor=${encodeURIComponent(next)}`}`);
    if (!answer.ok) throw new Error((await answer.json()).detail);
    const page = await answer.json();
    for (const row of page.symbols) names.set(row.symbol, row.name);
    next = page.next;
    more = Boolean(next);
  }
  const answer = await fetch("/v1/snapshots?symbols=*");
  if (!answer.ok) throw new Error((await answer.json()).detail);
  for (const [symbol, snapshot] of Object.entries((await answer.json()).snapshots)) {
    previous.set(symbol, snapshot.previous_close ?? snapshot.day?.open);
  }
  for (const symbol of newest.keys()) want(symbol);
}

function rowOf(symbol) {
  let cells = drawn.get(symbol);
  if (!cells) {
    if (!drawn.size) rows.replaceChildren();
    const row = document.createElement("tr");
    cells = Array.from({ length: 6 }, () => row.appendChild(document.createElement("td")));
    cells[0].textContent = symbol;
    drawn.set(symbol, cells);
    const after = [...drawn.keys()].sort().indexOf(symbol);
    rows.insertBefore(row, rows.children[after] ?? null);
  }
  return cells;
}

function want(symbol) {
  changed.add(symbol);
  frame ||= requestAnimationFrame(draw);
}

function draw() {
  frame = 0;
  for (const symbol of changed) {
    const trade = newest.get(symbol);
    const cells = rowOf(symbol);
    const base = previous.get(symbol);
    const percent = base ? (100 * (trade.price - base)) / base : null;
    const direction = percent > 0 ? "up" : percent < 0 ? "down" : "";
    cells[1].textContent = names.get(symbol) ?? "";
    cells[2].textContent = trade.price.toFixed(2);
    cells[3].textContent = percent === null ? "" : `${direction === "up" ? "▲" : direction === "down" ? "▼" : ""} ${percent.toFixed(2)} %`;
    cells[3].className = direction;
    cells[4].textContent = trade.size;
    cells[5].textContent = clock.format(trade.time / 1000);
  }
  changed.clear();
}

function take(message) {
  if (message.type === "trade") {
    newest.set(message.symbol, message);
    want(message.symbol);
  } else if (message.type === "service") {
    const symbols = message.symbols?.length ? `: ${message.symbols.slice(0, 5).join(", ")}` : "";
    show(message.state, message.state === "live" ? "live" : `stale (${message.reason}${symbols})`);
  } else if (message.type === "gap") {
    tell(`${message.symbol}: ${message.to - message.from + 1} ${message.channel} are missing (${message.reason}).`);
  } else if (message.type === "reset") {
    tell(`${message.symbol}: numbering begins again after ${message.seq}.`);
  } else if (message.type === "error") {
    tell(message.message);
  }
}

function connect() {
  const scheme = location.protocol === "https:" ? "wss" : "ws";
  const socket = new WebSocket(`${scheme}://${location.host}/v1/stream?channel=trades&symbols=*`);
  socket.onopen = () => {
    backoff = 500;
    show("live", "live");
    loadNames().catch((error) => tell(error.message));
  };
  socket.onmessage = (event) => take(JSON.parse(event.data));
  socket.onclose = (event) => {
    show("offline", `offline${event.reason ? ` (${event.reason})` : ""}; trying again`);
    setTimeout(connect, backoff * (0.5 + Math.random()));
    backoff = Math.min(2 * backoff, 10_000);
  };
}

connect();
