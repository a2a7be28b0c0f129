// npm runs this script after an installation, and for the first `npx patchbay` in a clone. In the second case it does nothing: the installation has
// generated everything, and a service may be using the files.

if (process.env['npm_command'] !== 'exec') {
  await import('./generate.ts');
  await import('./build-dashboard.ts');
}
