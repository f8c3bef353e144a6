/** Where a bucket's name goes in the address of a request. Apart from what needs the SDK, so that `--help` need not load it. */

/** Into the path (`https://host/bucket/key`), or in front of the host (`https://bucket.host/key`). */
export const ADDRESSINGS = ["path", "virtual", "auto"] as const;
export type Addressing = typeof ADDRESSINGS[number];

/** Stores that take the bucket's name in front of the host only: Alibaba OSS, Tencent COS, Huawei OBS. */
const VIRTUAL_ONLY = /\.(aliyuncs\.com|myqcloud\.com|tencentcos\.cn|myhuaweicloud\.(com|eu|cn))$/i;

/** `style` may come from a profile: what is none counts as `auto`. A server of one's own seldom has a name for every bucket. */
export function isPathStyle(style: string | undefined, endpoint: URL | undefined): boolean {
  if (style === "path" || style === "virtual") return style === "path";
  return endpoint !== undefined && !VIRTUAL_ONLY.test(endpoint.hostname);
}
