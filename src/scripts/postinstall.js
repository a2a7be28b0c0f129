// npm runs this after an installation. npm also runs it for the first `npx patchbay` in a clone. It generates nothing then: the installation of the
// clone has generated everything, and a service may be using the files.

if (process.env['npm_command'] !== 'exec') {
  await import('./generate.ts');
  await import('./build-dashboard.ts');
}
