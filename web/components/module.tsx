// A module with its colour, the same on every page.

/** Range of hues in degrees, without red and amber, which signal problems. */
const hues = { first: 95, degrees: 255 } as const;

/** Number of shades per hue. */
const shades = 3;

/** Returns the colour of a module, derived from its name. */
export function moduleColour(module: string) {
  const hash = hashOf(module);
  return { '--hue': String(hues.first + (hash % hues.degrees)), '--shade': String((hash >>> 8) % shades) };
}

/** Returns a hash below 2³²: FNV-1a with MurmurHash 3 finalization, so that similar names get different colours. */
function hashOf(text: string): number {
  let hash = 0x811c9dc5;
  for (const letter of text) hash = Math.imul(hash ^ (letter.codePointAt(0) ?? 0), 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}

type Parts = { readonly module: string; readonly version?: string | null };

export function Module({ module, version = null }: Parts) {
  return (
    <span class="module code">
      <span class="module-mark of-module" style={moduleColour(module)} />
      <span>{version === null ? module : `${module}@${version}`}</span>
    </span>
  );
}
