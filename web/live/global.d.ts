// What the sources of the live events find in a browser, and the types of the platform do not tell.

declare module '*?sharedworker&url' {
  /** Where the service answers the worker. */
  const address: string;
  export default address;
}

interface Window {
  /** Where the Content-Security-Policy asks for it. What a policy makes is taken where a text would be. */
  readonly trustedTypes?: {
    createPolicy(
      name: string,
      rules: { readonly createScriptURL: (text: string) => string },
    ): { readonly createScriptURL: (text: string) => string };
  };
}
