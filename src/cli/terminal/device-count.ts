// Numbers of devices in messages.

export const formatDeviceCount = (count: number) => (count === 1 ? '1 device' : `${count} devices`);
