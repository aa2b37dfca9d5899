// Answers on their way. Each stays in the browser's storage until the server has said that it is on disk, and is sent
// again, under the same uuid, for as long as that takes: a server that is killed or restarted loses nothing.

import { Refused, pause, send } from "./server.js";

const PREFIX = `robo-reward ${location.pathname} `;

export class Outbox {
  /**
   * @param {(waiting: number, trouble: string) => void} changed told whenever something is put in, sent or delayed
   * @param {(message: string) => void} refused told what the server does not want
   */
  constructor(changed, refused) {
    this.changed = changed;
    this.refused = refused;
    this.sending = null;
    this.trouble = "";
    this.count = 0;
    this.memory = new Map(); // where the browser gives no storage
  }

  /** Events that wait, oldest first; those of other tabs too. */
  waiting() {
    return this.keys().map((key) => JSON.parse(this.read(key)));
  }

  put(event) {
    // A key of its own for each event: tabs that share the storage cannot overwrite each other's.
    const when = `${String(Date.now()).padStart(15, "0")}-${String(this.count++).padStart(6, "0")}`;
    this.write(`${PREFIX}${when} ${event.uuid}`, JSON.stringify(event));
    this.flush();
  }

  /** Resolves when nothing waits any more. */
  flush() {
    this.sending ??= this.empty();
    return this.sending;
  }

  async empty() {
    await null; // `sending` is set before the end can clear it
    let attempt = 0;
    for (let keys = this.keys(); keys.length; keys = this.keys()) {
      this.changed(keys.length, attempt > 1 ? this.trouble : "");
      const text = this.read(keys[0]);
      if (text === null) continue; // another tab has sent it
      try {
        await send(JSON.parse(text));
        this.remove(keys[0]);
        attempt = 0;
      } catch (error) {
        if (error instanceof Refused) {
          this.remove(keys[0]);
          this.write(`refused ${keys[0]}`, text); // out of the way, but not thrown away
          this.refused(error.message);
        } else {
          this.trouble = error.message;
          await pause(attempt++);
        }
      }
    }
    this.sending = null;
    this.changed(0, "");
  }

  keys() {
    const all = [...this.memory.keys()];
    try {
      all.push(...Object.keys(localStorage));
    } catch { /* no storage */ }
    return all.filter((key) => key.startsWith(PREFIX)).sort();
  }

  read(key) {
    return this.memory.get(key) ?? localStorage.getItem(key);
  }

  write(key, text) {
    try {
      localStorage.setItem(key, text);
    } catch {
      this.memory.set(key, text);
    }
  }

  remove(key) {
    if (!this.memory.delete(key)) localStorage.removeItem(key);
  }
}
