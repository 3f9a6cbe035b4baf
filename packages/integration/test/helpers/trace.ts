import { subscribe, unsubscribe } from 'node:diagnostics_channel'

/** Collects the messages of a trace channel until it is disposed of. */
export class Trace {
  readonly messages: unknown[] = []
  readonly #channel: string

  constructor(channel: string) {
    this.#channel = channel
    subscribe(channel, this.#listen)
  }

  readonly #listen = (message: unknown): void => {
    this.messages.push(message)
  };

  [Symbol.dispose](): void {
    unsubscribe(this.#channel, this.#listen)
  }
}
