/** Says how long to wait before connecting again; pure. */

const FIRST_MS = 250;
const MOST_MS = 10_000;
/** Refused on purpose, so coming back at once would only be refused again: overloaded, too many, not allowed. */
const PATIENT = new Set([1013, 4400, 4401, 4429]);
const PATIENT_MS = 5_000;

/** `attempt` counts from 0; `random` lies in [0, 1): clients that lost the same server must not all come back together. */
export function backoffMs(attempt: number, code: number, random: number): number {
  const base = Math.min(MOST_MS, FIRST_MS * 2 ** Math.min(attempt, 16));
  return Math.round((PATIENT.has(code) ? Math.max(base, PATIENT_MS) : base) * (0.5 + random / 2));
}
