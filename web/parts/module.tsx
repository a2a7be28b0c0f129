// A module, marked by the colour that is its own on every page.

/** Hues that are told apart, in degrees; without those of what is well and what is not. */
const hues = [255, 195, 305, 165, 330, 225, 280, 105, 350, 130] as const;

/** The hue of a module: the same for the same name, everywhere and always. */
function moduleHue(module: string): number {
  let hash = 0x811c9dc5;
  for (const letter of module) hash = Math.imul(hash ^ (letter.codePointAt(0) ?? 0), 0x01000193) >>> 0;
  return hues[hash % hues.length] ?? hues[0];
}

export const moduleColour = (module: string) => ({ '--hue': String(moduleHue(module)) });

type Parts = { readonly module: string; readonly version?: string | null };

export function Module({ module, version = null }: Parts) {
  return (
    <span class="code">
      <span class="module-mark of-module" style={moduleColour(module)} />
      {version === null ? module : `${module}@${version}`}
    </span>
  );
}
