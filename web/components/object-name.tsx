// The name of an object, or its shortened ID if the name is unknown.

type Parts = { readonly id: string; readonly names: ReadonlyMap<string, string> };

export function ObjectName({ id, names }: Parts) {
  const name = names.get(id);
  return name === undefined ? <code title={id}>{shortened(id)}</code> : <span title={id}>{name}</span>;
}

/** Shortens an ID to its kind and its last characters, which differ. */
export const shortened = (id: string) => id.replace(/^([a-z]{3,4}_)[0-9a-f]{24}([0-9a-f]{8})$/, '$1…$2');
