// A module, marked by the colour that is its own on every page.

/** Degrees of hues, from the first of them on, that are neither red nor amber, for those say that something is not well. */
const hues = { first: 95, degrees: 255 } as const;

/** Shades of one hue: 0, 1 and 2. */
const shades = 3;

/** The colour of a module: the same for the same name, everywhere and always. */
export function moduleColour(module: string) {
  const hash = hashOf(module);
  return { '--hue': String(hues.first + (hash % hues.degrees)), '--shade': String((hash >>> 8) % shades) };
}

/** A number below 2³² (FNV-1a, its bits mixed as MurmurHash 3 mixes them: names that are alike are to have colours that are not). */
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
