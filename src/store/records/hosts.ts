// Device hosts.

import type { Prisma } from '../generated/client.ts';
import type { HostModel } from '../generated/models.ts';
import type { Page } from './page.ts';

export type HostRecord = HostModel;
export type HostWithDevices = HostRecord & { readonly devices: number };

export class HostRecords {
  readonly #client: Prisma.TransactionClient;

  constructor(client: Prisma.TransactionClient) {
    this.#client = client;
  }

  async find(id: string): Promise<HostRecord | null> {
    return this.#client.host.findUnique({ where: { id } });
  }

  async findByName(name: string): Promise<HostRecord | null> {
    return this.#client.host.findUnique({ where: { name } });
  }

  /** Makes the host, or renews the one of that name. */
  async save(host: HostRecord): Promise<void> {
    const { id, ...rest } = host;
    await this.#client.host.upsert({ where: { id }, create: host, update: rest });
  }

  async list(page: Page<string>): Promise<HostWithDevices[]> {
    const hosts = await this.#client.host.findMany({
      where: page.after === null ? {} : { id: { lt: page.after } },
      orderBy: { id: 'desc' },
      take: page.limit,
      include: { _count: { select: { devices: true } } },
    });
    return hosts.map(({ _count, ...host }) => ({ ...host, devices: _count.devices }));
  }

  /** Every host with the number of its devices. */
  async all(): Promise<HostWithDevices[]> {
    const hosts = await this.#client.host.findMany({ include: { _count: { select: { devices: true } } } });
    return hosts.map(({ _count, ...host }) => ({ ...host, devices: _count.devices }));
  }
}
