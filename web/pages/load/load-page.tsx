export function LoadPage() {
  return <h1 tabIndex={-1}>Load</h1>;
}
