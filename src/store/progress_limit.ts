/** A time limit that runs only while nothing moves: a slow request may take hours, a dead one does not. */

/** How long a request may go without a byte in either direction, unless the operator says otherwise. */
export const PROGRESS_LIMIT_MS = 60_000;

/** Calls back after `delayMs` unless the returned function is called before. */
export type StartTimer = (callback: () => void, delayMs: number) => () => void;

interface ProgressLimit {
  limitMs: number;
  /** What the request ends with when the limit is hit. */
  onLimit: () => Error;
  signal?: AbortSignal | undefined;
  startTimer: StartTimer;
}

interface Progress {
  /** Aborts when the limit is hit or the caller's signal aborts, with the reason of either. */
  signal: AbortSignal;
  /** To be called whenever something has moved: the limit starts anew. */
  moved: () => void;
}

/**
 * Runs `run` and settles as it does, or rejects with `onLimit()` or the caller's reason as soon as the one or the
 * other ends it, even where `run` does not heed its signal.
 */
export async function withProgressLimit<T>(
  { limitMs, onLimit, signal, startTimer }: ProgressLimit,
  run: (progress: Progress) => Promise<T>,
): Promise<T> {
  signal?.throwIfAborted();
  const controller = new AbortController();
  const start = () => startTimer(() => controller.abort(onLimit()), limitMs);
  let stop = start();
  const moved = () => {
    stop();
    stop = start();
  };
  const forward = () => controller.abort(signal?.reason);
  signal?.addEventListener("abort", forward, { once: true });
  try {
    return await Promise.race([run({ signal: controller.signal, moved }), rejectOnAbort(controller.signal)]);
  } finally {
    stop();
    signal?.removeEventListener("abort", forward);
  }
}

function rejectOnAbort(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) =>
    signal.addEventListener("abort", () => reject(signal.reason), { once: true })
  );
}
