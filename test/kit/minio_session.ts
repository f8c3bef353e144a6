/**
 * Keys for MinIO that are confined by a policy, from its AssumeRole (the AWS Security Token Service's, version
 * 2011-06-15): the policy is judged as that of a user made with `mc admin user add` is, and no further tool is needed.
 */
import { createHash, createHmac } from "node:crypto";
import type { S3Server } from "./s3_server.ts";

export interface SessionKeys {
  AWS_ACCESS_KEY_ID: string;
  AWS_SECRET_ACCESS_KEY: string;
  AWS_SESSION_TOKEN: string;
}

/** Asks for keys that may do what `policy` allows. */
export async function assumeRole(server: S3Server, policy: string): Promise<SessionKeys> {
  const query = { Action: "AssumeRole", Version: "2011-06-15", DurationSeconds: "3600", Policy: policy };
  const body = new URLSearchParams(query).toString();
  const response = await fetch(server.endpoint, {
    method: "POST",
    body,
    headers: signedHeaders(server, body),
  });
  const answer = await response.text();
  if (!response.ok) throw new Error(`AssumeRole failed: ${answer}`);
  const field = (name: string) => new RegExp(`<${name}>([^<]+)<`).exec(answer)?.[1] ?? "";
  return {
    AWS_ACCESS_KEY_ID: field("AccessKeyId"),
    AWS_SECRET_ACCESS_KEY: field("SecretAccessKey"),
    AWS_SESSION_TOKEN: field("SessionToken"),
  };
}

/** AWS Signature Version 4 of a form that is posted to `/`. */
function signedHeaders({ endpoint, accessKey, secretKey }: S3Server, body: string): Record<string, string> {
  const time = new Date().toISOString().replace(/[-:]|\.\d+/g, "");
  const scope = `${time.slice(0, 8)}/us-east-1/sts/aws4_request`;
  const headers = {
    "content-type": "application/x-www-form-urlencoded",
    "host": new URL(endpoint).host,
    "x-amz-date": time,
  };
  const names = Object.keys(headers).join(";");
  const lines = Object.entries(headers).map(([name, value]) => `${name}:${value}\n`).join("");
  const canonical = ["POST", "/", "", lines, names, sha256(body)].join("\n");
  const toSign = ["AWS4-HMAC-SHA256", time, scope, sha256(canonical)].join("\n");
  const key = scope.split("/").reduce<string | Buffer>((key, part) => hmac(key, part), `AWS4${secretKey}`);
  const signature = hmac(key, toSign).toString("hex");
  const authorization =
    `AWS4-HMAC-SHA256 Credential=${accessKey}/${scope}, SignedHeaders=${names}, Signature=${signature}`;
  return { ...headers, authorization };
}

function sha256(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}

function hmac(key: string | Buffer, text: string): Buffer {
  return createHmac("sha256", key).update(text).digest();
}
