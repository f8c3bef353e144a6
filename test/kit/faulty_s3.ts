/** A proxy in front of a real S3 server that fails as a test tells it to. */
import { once } from "node:events";
import http from "node:http";
import type { AddressInfo } from "node:net";
import type { S3Server } from "./s3_server.ts";

/**
 * A status: answered, the request did not reach the server. `hang`: no answer, ever. `cut`: the connection ends before
 * the server saw the request. `lost`: the server did it, but the connection ends before the answer. `half`: it ends
 * within the answer's body. A `Reply`: answered so, the request did not reach the server. A function: the server did it,
 * and its answer becomes another.
 */
export type Fault = number | "hang" | "cut" | "lost" | "half" | Reply | ((answer: Required<Reply>) => Reply);

/** An answer; without a `content-length` among its headers it is sent in chunks, as proxies do. */
export interface Reply {
  status?: number;
  /** By names in lower case. */
  headers?: Record<string, string>;
  body?: string | Uint8Array;
}

export interface Call {
  method: string;
  /** Behind the bucket; empty for a request to the bucket itself, such as a listing. */
  key: string;
  query: URLSearchParams;
  headers: http.IncomingHttpHeaders;
  /** How many calls came before, the failed ones included. */
  index: number;
}

/** What a portal, a firewall or a broken gateway answers. */
export function webPage(status = 200): Reply {
  const body = "<html><body>Please log in</body></html>";
  const headers = { "content-type": "text/html", "content-length": String(body.length) };
  return { status, headers, body };
}

/** A refusal as S3 words it. */
export function s3Failure(status: number, code: string): Reply {
  const body =
    `<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>${code}</Code><Message>no</Message></Error>`;
  const headers = { "content-type": "application/xml", "content-length": String(body.length) };
  return { status, headers, body };
}

export class FaultyS3 {
  /** Decides about each call before the server sees it. */
  faultOf: (call: Call) => Fault | undefined = () => undefined;
  readonly calls: Call[] = [];
  readonly #behind: URL;
  #server: http.Server;
  #port = 0;

  private constructor(behind: S3Server) {
    this.#behind = new URL(behind.endpoint);
    this.#server = this.#create();
  }

  static async start(behind: S3Server): Promise<FaultyS3> {
    const proxy = new FaultyS3(behind);
    await proxy.comeBack();
    return proxy;
  }

  get endpoint(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  /** From now on connections are refused, and those that there are end. */
  goAway(): void {
    this.#server.close();
    this.#server.closeAllConnections();
  }

  /** Listens, where it listened before. */
  async comeBack(): Promise<void> {
    this.#server = this.#create();
    this.#server.listen(this.#port, "127.0.0.1");
    await once(this.#server, "listening");
    this.#port = (this.#server.address() as AddressInfo).port;
  }

  /** Puts everything back as it was at first. */
  reset(): void {
    this.faultOf = () => undefined;
    this.calls.length = 0;
  }

  #create(): http.Server {
    return http.createServer((request, response) => this.#answer(request, response));
  }

  #answer(request: http.IncomingMessage, response: http.ServerResponse): void {
    const { pathname, searchParams: query } = new URL(request.url ?? "", this.endpoint);
    const [, key = ""] = /^\/[^/]+\/?(.*)/.exec(pathname) ?? [];
    const { method = "", headers } = request;
    const call = { method, key: decodeURIComponent(key), query, headers, index: this.calls.length };
    this.calls.push(call);
    const fault = this.faultOf(call);
    if (fault === "hang") return;
    if (fault === "cut") return void request.socket.destroy();
    if (typeof fault === "number") return void response.writeHead(fault).end();
    if (typeof fault === "object") return void request.on("end", () => send(response, fault)).resume();
    this.#forward(request, response, fault);
  }

  #forward(
    request: http.IncomingMessage,
    response: http.ServerResponse,
    fault: "lost" | "half" | ((answer: Required<Reply>) => Reply) | undefined,
  ): void {
    const { method, url: path, headers } = request;
    const { hostname: host, port } = this.#behind;
    const onward = http.request({ host, port, method, path, headers }, async (answer) => {
      if (fault === "lost") return void answer.on("end", () => request.socket.destroy()).resume();
      const { statusCode: status = 0 } = answer;
      if (typeof fault === "function") {
        const headers = answer.headers as Record<string, string>;
        return send(response, fault({ status, headers, body: await bodyOf(answer) }));
      }
      response.writeHead(status, answer.headers);
      if (fault === undefined) return void answer.pipe(response);
      answer.once("data", (bytes: Uint8Array) => {
        response.write(bytes.subarray(0, bytes.length / 2), () => request.socket.destroy());
      });
    });
    onward.on("error", () => request.socket.destroy());
    request.pipe(onward);
  }
}

async function bodyOf(answer: http.IncomingMessage): Promise<Buffer> {
  return Buffer.concat(await Array.fromAsync(answer as AsyncIterable<Uint8Array>));
}

function send(response: http.ServerResponse, { status = 200, headers = {}, body = "" }: Reply): void {
  response.writeHead(status, headers).end(body);
}
