// The folder in the run's temporary folder into which the browser is unpacked.

export const browserFolderName = 'patchbay-browser';
