// Browser features that the TypeScript library does not declare.

declare module '*?sharedworker&url' {
  /** The URL of the worker's script. */
  const address: string;
  export default address;
}

interface Window {
  /** Present in browsers with Trusted Types. The value that a policy returns is accepted in place of a string. */
  readonly trustedTypes?: {
    createPolicy(
      name: string,
      rules: { readonly createScriptURL: (text: string) => string },
    ): { readonly createScriptURL: (text: string) => string };
  };
}
