export function DevicePage() {
  return <h1 tabIndex={-1}>Device</h1>;
}
