export function LoadsPage() {
  return <h1 tabIndex={-1}>Loads</h1>;
}
