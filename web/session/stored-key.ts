// Stores the API key in the session storage of the tab, if the user agrees; otherwise only the page's memory holds it.

const place = 'patchbay-key';

/** Returns the stored key; null if none is stored. */
export function readStoredKey(): string | null {
  try {
    return sessionStorage.getItem(place);
  } catch {
    return null;
  }
}

/** Stores a key until the tab is closed. Without session storage, the key is lost with the page. */
export function storeKey(key: string): void {
  try {
    sessionStorage.setItem(place, key);
  } catch {}
}

export function deleteStoredKey(): void {
  try {
    sessionStorage.removeItem(place);
  } catch {}
}
