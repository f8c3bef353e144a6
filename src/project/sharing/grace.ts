/** How long the last steps of a run may take once it was interrupted: they are worth a try, not a wait. */
import type { Context } from "../../context.ts";

/** Less than the command line waits before it ends the process (`src/cli/signals.ts`). */
export const GRACE_MS = 1000;

/** Runs `work` with a signal that aborts `GRACE_MS` after the context's, whether that aborts before or meanwhile. */
export async function withGrace<T>(
  { signal, clock }: Context,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const limit = new AbortController();
  const done = new AbortController();
  const onAbort = () =>
    void clock.sleep(GRACE_MS, done.signal).then(() => limit.abort(signal.reason), () => {});
  if (signal.aborted) onAbort();
  else signal.addEventListener("abort", onAbort, { once: true });
  try {
    return await work(limit.signal);
  } finally {
    signal.removeEventListener("abort", onAbort);
    done.abort();
  }
}
