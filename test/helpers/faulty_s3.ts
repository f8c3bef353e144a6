/** A proxy in front of a real S3 server that fails as a test tells it to. */
import { once } from "node:events";
import http from "node:http";
import type { AddressInfo } from "node:net";
import type { S3Server } from "./s3_server.ts";

/**
 * A status, with headers or without: answered, the request did not reach the server. `hang`: no answer, ever. `cut`: the connection ends before
 * the server saw the request. `lost`: the server did it, but the connection ends before the answer. `half`: it ends
 * within the answer's body.
 */
export type Fault =
  | number
  | { status: number; headers: Record<string, string> }
  | "hang"
  | "cut"
  | "lost"
  | "half";

export interface Call {
  method: string;
  /** Behind the bucket; empty for a request to the bucket itself, such as a listing. */
  key: string;
  /** How many calls came before, the failed ones included. */
  index: number;
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
    const [, key = ""] = /^\/[^/?]+\/?([^?]*)/.exec(request.url ?? "") ?? [];
    const call = { method: request.method ?? "", key: decodeURIComponent(key), index: this.calls.length };
    this.calls.push(call);
    const fault = this.faultOf(call);
    if (fault === "hang") return;
    if (fault === "cut") return void request.socket.destroy();
    if (typeof fault === "number") return void response.writeHead(fault).end();
    if (typeof fault === "object") return void response.writeHead(fault.status, fault.headers).end();
    this.#forward(request, response, fault);
  }

  #forward(
    request: http.IncomingMessage,
    response: http.ServerResponse,
    fault: "lost" | "half" | undefined,
  ): void {
    const { method, url: path, headers } = request;
    const { hostname: host, port } = this.#behind;
    const onward = http.request({ host, port, method, path, headers }, (answer) => {
      if (fault === "lost") return void answer.on("end", () => request.socket.destroy()).resume();
      response.writeHead(answer.statusCode!, answer.headers);
      if (fault === undefined) return void answer.pipe(response);
      answer.once("data", (bytes: Uint8Array) => {
        response.write(bytes.subarray(0, bytes.length / 2), () => request.socket.destroy());
      });
    });
    onward.on("error", () => request.socket.destroy());
    request.pipe(onward);
  }
}
