/** Attacks on single objects: other bytes, fewer, more, none, older ones, another's. */
import type { Attack, Attacker } from "../attacker.ts";

/** Larger than any object can be; on a disk it takes no room. A bucket is sent what is just beyond a manifest's limit. */
const BUCKET_GIANT_BYTES = 66 * 1024 * 1024;

export const OBJECT_ATTACKS: Record<string, Attack> = {
  garbage: {
    weight: 3,
    act: (a) =>
      a.write(a.once(3) ? newKey(a) : a.key(), a.noise(a.pick([1, 31, 32, 92, 300, 70_000])), "garbage"),
  },
  empty: {
    weight: 2,
    act: (a) => a.write(a.once(3) ? newKey(a) : a.key(), new Uint8Array(), "nothing in it"),
  },
  flip: {
    weight: 4,
    act: (a) => {
      const key = a.key();
      const bytes = a.original(key).slice();
      const at = a.draw(a.once(2) ? Math.min(bytes.length, 32) : bytes.length);
      const bit = a.draw(8);
      bytes[at]! ^= 1 << bit;
      return a.write(key, bytes, `bit ${bit} of byte ${at} is another`);
    },
  },
  header: {
    weight: 3,
    act: (a) => {
      const key = a.key();
      const bytes = a.original(key).slice();
      const at = a.pick([5, 6, 7, 16, 20, 24, 28]);
      const value = a.pick([0, 1, 2, 3, 0x7fff_ffff, 0xffff_ffff, 2 ** 24, 2 ** 28]);
      if (at < 8) bytes[at] = value;
      else if (bytes.length >= 32) new DataView(bytes.buffer).setUint32(at, value, true);
      return a.write(key, bytes, `its header says ${value} at ${at}`);
    },
  },
  cut: {
    weight: 3,
    act: (a) => {
      const key = a.key();
      const bytes = a.original(key);
      const length = a.pick([0, 1, 31, 32, 60, bytes.length >> 1, Math.max(0, bytes.length - 1)]);
      return a.write(key, bytes.slice(0, length), `cut to ${length} bytes`);
    },
  },
  grow: {
    weight: 2,
    act: (a) => {
      const key = a.key();
      const more = a.pick([1, 16, 4096, 300_000]);
      return a.write(
        key,
        new Uint8Array(Buffer.concat([a.original(key), a.noise(more)])),
        `grown by ${more} bytes`,
      );
    },
  },
  giant: {
    weight: 1,
    act: async (a) => {
      const key = a.once(2) ? newKey(a) : a.key();
      const head = a.template.objects.get(key) ?? a.noise(64);
      if (a.victim.folder === undefined) {
        return a.write(key, new Uint8Array(Buffer.concat([head], BUCKET_GIANT_BYTES)), "66 MiB");
      }
      const sizeBytes = a.pick([2 ** 27 + 1, 3 * 2 ** 30, 2 ** 33, 2 ** 40]);
      const wrote = await a.write(key, head, `grown by a hole to ${sizeBytes} bytes`);
      await import("node:fs").then((fs) => fs.truncateSync(`${a.victim.folder}/${key}`, sizeBytes)).catch(
        () => {},
      );
      return wrote;
    },
  },
  swap: {
    weight: 4,
    act: async (a) => {
      const one = a.key();
      const other = a.keyLike(one);
      await a.write(one, a.original(other), "");
      return await a.write(other, a.original(one), `exchanged with "${one}"`);
    },
  },
  plant: {
    weight: 4,
    act: (a) => {
      const from = a.key();
      return a.write(a.once(2) ? newKey(a) : a.keyLike(from), a.original(from), `a copy of "${from}"`);
    },
  },
  plantElsewhere: {
    weight: 3,
    act: (a) => {
      const from = a.key("acme");
      const to = a.project();
      return a.write(from.replace("projects/acme/", `projects/${to}/`), a.original(from), "a copy of acme's");
    },
  },
  remove: {
    weight: 4,
    act: async (a) => {
      const key = a.key();
      await a.victim.remove(key);
      return `"${key}": removed`;
    },
  },
  replay: {
    weight: 4,
    act: async (a) => {
      const stage = a.pick(a.template.stages.slice(0, -1));
      const key = a.pick([...stage.keys()].filter((key) => !key.includes("/chunks/")));
      return await a.write(key, stage.get(key)!, "as it was earlier");
    },
  },
};

/** Where an object may lie, and none does: among them times that no clock has shown yet. */
export function newKey(a: Attacker): string {
  const volume = a.pick(["db", "web/root", "new"]);
  const backup = a.pick([
    "99991231T235959999Z-00000000",
    "21990101T000000000Z-ffffffff",
    "00010101T000000000Z-00000000",
    `20261129T000000000Z-${a.hex(8)}`,
  ]);
  const id = a.hex(64);
  const name = a.pick([
    `volumes/${volume}/${backup}`,
    `volumes/${volume}/${backup}`,
    `holds/${volume}/${backup}`,
    `keys/${a.pick(["0000000000000000", a.hex(16)])}`,
    `leases/${a.hex(32)}`,
    `gc/${a.hex(32)}/${a.pick(["head", "end", "all", "7f"])}`,
    `forgotten/${a.hex(32)}`,
    `chunks/${id.slice(0, 2)}/${id}${a.once(2) ? "" : `.${a.hex(32)}`}`,
    `marked/${id.slice(0, 2)}/${id}`,
  ]);
  return `projects/${a.project()}/${name}`;
}
