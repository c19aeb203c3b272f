/** Counts what goes through each of the two doors, REST and WebSocket, and what was healed; pure, times in milliseconds. */

const RECENT = 50;
export const SECONDS = 60;

export interface Request {
  /** Of the body, as it came over the wire. */
  bytes: number;
  ms: number;
  /** Null where the browser does not say; 0 where there was no answer. */
  status: number | null;
}

/** How much there was in each of the last seconds, oldest first. */
export class Rate {
  #counts = new Array<number>(SECONDS).fill(0);
  #second = -1;

  add(now: number, count = 1): void {
    this.#turn(now);
    this.#counts[this.#second % SECONDS]! += count;
  }

  /** Without the second that is not over. */
  last(now: number): number[] {
    this.#turn(now);
    return Array.from({ length: SECONDS - 1 }, (_, at) => this.#counts[(this.#second + 1 + at) % SECONDS]!);
  }

  #turn(now: number): void {
    const second = Math.floor(now / 1000);
    if (this.#second < 0) this.#second = second;
    for (const until = Math.min(second, this.#second + SECONDS); this.#second < until;) {
      this.#second += 1;
      this.#counts[this.#second % SECONDS] = 0;
    }
    if (this.#second < second) this.#second = second;
  }
}

export class Traffic {
  readonly rest = { requests: 0, failed: 0, bytes: 0, rate: new Rate() };
  readonly socket = { received: 0, sent: 0, bytes: 0, bytesSent: 0, connections: 0, rate: new Rate() };
  readonly healed = { resumes: 0, replayed: 0, missed: 0, gaps: 0 };
  #recent: number[] = [];
  #awaitsResume = false;

  request(now: number, { bytes, ms, status }: Request): void {
    this.rest.requests += 1;
    this.rest.bytes += bytes;
    if (status !== null && (status === 0 || status >= 400)) this.rest.failed += 1;
    this.rest.rate.add(now);
    this.#recent.push(ms);
    if (this.#recent.length > RECENT) this.#recent.shift();
  }

  /** How long answers take: the middle one of the last. */
  get answerMs(): number | null {
    const sorted = [...this.#recent].sort((a, b) => a - b);
    return sorted[sorted.length >> 1] ?? null;
  }

  connected(): void {
    this.socket.connections += 1;
  }

  received(now: number, bytes: number): void {
    this.socket.received += 1;
    this.socket.bytes += bytes;
    this.socket.rate.add(now);
  }

  sent(bytes: number): void {
    this.socket.sent += 1;
    this.socket.bytesSent += bytes;
  }

  lost(): void {
    this.#awaitsResume = true;
  }

  /** A topic goes on; the first one after a lost connection makes it a resume. */
  joined(recovered: boolean): void {
    if (recovered && this.#awaitsResume) {
      this.#awaitsResume = false;
      this.healed.resumes += 1;
    }
  }

  replayed(): void {
    this.healed.replayed += 1;
  }

  /** Numbers will not come. */
  gap(from: number, to: number): void {
    this.healed.gaps += 1;
    this.healed.missed += to - from + 1;
  }
}

/** 512 B, 4.1 kB, 2.4 MB. */
export function bytesText(bytes: number): string {
  if (bytes < 1000) return `${bytes} B`;
  const units = ["kB", "MB", "GB"];
  const power = Math.min(Math.floor(Math.log10(bytes) / 3), units.length);
  return `${(bytes / 1000 ** power).toFixed(1)} ${units[power - 1]}`;
}
