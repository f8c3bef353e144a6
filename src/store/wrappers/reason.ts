/** Why a store does not answer, in the few words of a log line. */
import type { StoreError } from "../../errors.ts";

/** Connections' codes as people call them. */
const WORDS: Record<string, string> = {
  ECONNREFUSED: "connection refused",
  ConnectionRefused: "connection refused",
  ECONNRESET: "connection reset",
  ConnectionClosed: "connection closed",
  ENOTFOUND: "unknown host name",
  EAI_AGAIN: "host name lookup failed",
  ETIMEDOUT: "timed out",
  EHOSTUNREACH: "no route to host",
  ENETUNREACH: "the network is down",
};

/** The state in `Cannot <action> "<thing>": <state>`, without the store's own name and without ids of chunks. */
export function reasonOf({ message }: StoreError, name: string): string {
  const state = message.replace(/^Cannot [^"]*"[^"]*": /, "");
  const [, code] = /^no connection to "[^"]*" \((\w+)\)$/.exec(state) ?? [];
  if (code !== undefined) return WORDS[code] ?? `no connection (${code})`;
  return state.replaceAll(`"${name}"`, "it").replace(/[0-9a-f]{64}/g, "…");
}
