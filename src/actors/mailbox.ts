/**
 * Messages in order of arrival.
 *
 * Thread: any. Owns: the messages not taken yet.
 * Bounds: whoever puts them in (a port's credit and what else bounds its messages).
 */
const LET_GO = 1024;

export class Mailbox<Message> {
  #messages: Message[] = [];
  #head = 0;

  get size(): number {
    return this.#messages.length - this.#head;
  }

  put(message: Message): void {
    this.#messages.push(message);
  }

  take(): Message | undefined {
    const message = this.#messages[this.#head];
    if (message === undefined) return undefined;
    this.#head += 1;
    // What was taken is let go now and then also when it never runs empty.
    if (this.#head === this.#messages.length || this.#head === LET_GO) {
      this.#messages = this.#messages.slice(this.#head);
      this.#head = 0;
    }
    return message;
  }
}
