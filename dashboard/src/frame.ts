/** Draws at most once per animation frame, however often it is asked to. */

export class Frame {
  #jobs = new Set<() => void>();
  #asked = false;

  constructor(
    private readonly request: (draw: () => void) => unknown = (draw) => requestAnimationFrame(draw),
  ) {}

  want(job: () => void): void {
    this.#jobs.add(job);
    if (this.#asked) return;
    this.#asked = true;
    this.request(() => {
      this.#asked = false;
      const jobs = [...this.#jobs];
      this.#jobs.clear();
      for (const each of jobs) each();
    });
  }
}
