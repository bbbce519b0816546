// Words on their way to the server: kept in the browser until it has them, sent in their order, again and again.
import { post, Refused } from "./api.js";

const RETRY_MS = [300, 1000, 3000, 5000];

export class Outbox {
  // changed(waiting, away): how many wait, and whether the server is away; told(answer), refused(entry, why).
  constructor(who, { changed, told, refused }) {
    this.key = `outbox ${who}`;
    this.entries = JSON.parse(localStorage.getItem(this.key) || "[]");
    Object.assign(this, { changed, told, refused, tries: 0, sending: false });
    window.addEventListener("beforeunload", (event) => { if (this.entries.length) event.preventDefault(); });
    this.run();
  }

  put(path, content) {
    const entry = { path, content, id: crypto.getRandomValues(new Uint32Array(1))[0] };
    this.entries.push(entry);
    this.save();
    this.run();
    return entry.id;
  }

  // Takes an entry out again; false where it is on its way already, or there.
  drop(id) {
    const index = this.entries.findIndex((entry) => entry.id === id);
    if (index < 0 || (index === 0 && this.sending)) return false;
    this.entries.splice(index, 1);
    this.save();
    return true;
  }

  save() {
    localStorage.setItem(this.key, JSON.stringify(this.entries));
    this.changed(this.entries.length, this.tries > 1);
  }

  async run() {
    if (this.sending) return;
    this.sending = true;
    while (this.entries.length) {
      const entry = this.entries[0];
      try {
        const answer = await post(entry.path, entry.content);
        this.tries = 0;
        this.told(answer);
      } catch (error) {
        const lasting = error instanceof Refused && ![401, 403, 408, 429, 503].includes(error.status) && error.status < 500;
        if (!lasting) {
          this.tries += 1;
          this.changed(this.entries.length, true);
          if (error instanceof Refused && (error.status === 401 || error.status === 403)) location.assign("/hello");
          await new Promise((resolve) => setTimeout(resolve, RETRY_MS[Math.min(this.tries, RETRY_MS.length) - 1]));
          continue;
        }
        this.refused(entry, error.message);
      }
      this.entries.shift();
      this.save();
    }
    this.sending = false;
  }
}
