// Where the API key is kept: in the memory of the page, and if its user likes in that of the tab, which outlives a reload. Nowhere else.

const place = 'patchbay-key';

/** The key that the tab remembers; null where it does not. */
export function rememberedKey(): string | null {
  try {
    return sessionStorage.getItem(place);
  } catch {
    return null;
  }
}

/** Has the tab remember a key until it is closed; where the browser keeps nothing, the key is forgotten with the page. */
export function rememberKey(key: string): void {
  try {
    sessionStorage.setItem(place, key);
  } catch {}
}

export function forgetKey(): void {
  try {
    sessionStorage.removeItem(place);
  } catch {}
}
