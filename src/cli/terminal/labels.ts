/** Returns labels as `key=value`, separated by spaces. */
export const formatLabels = (labels: Readonly<Record<string, string>>) =>
  Object.entries(labels)
    .map(([key, value]) => `${key}=${value}`)
    .join(' ');
