/**
 * Which proxy Bun's `fetch` takes to a server, for the errors of what goes wrong there: those of `HTTP_PROXY`,
 * `HTTPS_PROXY` and `NO_PROXY`, in small letters or capitals, the former first. Part of the S3 store.
 */

export interface ProxySetting {
  /** Host and port; its address may hold a password. */
  host: string;
  /** The variable that names it. */
  variable: string;
}

export type Environment = Record<string, string | undefined>;

/** `undefined` where the server is reached directly. */
export function proxyOf(endpoint: URL, env: Environment): ProxySetting | undefined {
  const name = endpoint.protocol === "https:" ? "https_proxy" : "http_proxy";
  const variable = [name, name.toUpperCase()].find((name) => env[name]);
  if (variable === undefined || isExempt(endpoint, env["no_proxy"] || env["NO_PROXY"] || "")) {
    return undefined;
  }
  const text = env[variable]!;
  // Without a scheme the host itself would be taken for one.
  const host = URL.parse(text.includes("://") ? text : `http://${text}`)?.host;
  return { host: host || "?", variable };
}

/** Entries are `*`, hosts, or ends of their names, each with a port or without. */
function isExempt({ hostname, host, port, protocol }: URL, list: string): boolean {
  const hostAndPort = port === "" ? `${host}:${protocol === "https:" ? 443 : 80}` : host;
  return list.split(",").map((entry) => entry.trim().toLowerCase()).filter((entry) => entry !== "").some(
    (entry) => {
      if (entry === "*") return true;
      const name = entry.replace(/^\*?\./, "");
      return [hostname, hostAndPort].some((own) => own === name || own.endsWith(`.${name}`));
    },
  );
}
