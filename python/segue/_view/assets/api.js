// Questions to the server. docs/design/recording.md of Segue's source has the questions and their answers.

import { byId, el } from "./dom.js";

export class Refused extends Error {
  /** Nothing will be answered any more. */
  isOver = false;
}

export async function ask(question, given = {}) {
  let response;
  try {
    response = await fetch(`api/${question}?arguments=${encodeURIComponent(JSON.stringify(given))}`);
  } catch {
    gone("segue view has ended", "Start it again to ask more; what is on the page stays.");
    throw new Refused("the server has ended");
  }
  if (response.ok) {
    byId("banner").querySelector(".gone")?.remove();
    return response.json();
  }
  if (response.status === 403) gone("This page's key is no longer good", "Open the address that segue view prints.");
  const problem = await response.json().catch(() => ({}));
  const refused = new Refused(problem.error ?? `${response.status} ${response.statusText}`);
  if (response.status === 410) {
    gone("The program has ended", "What is on the page stays.");
    refused.isOver = true;
  }
  throw refused;
}

function gone(what, todo) {
  if (!byId("banner").querySelector(".gone")) {
    byId("banner").prepend(el("p", { cls: "bad gone" }, el("b", {}, what), ` — ${todo}`));
  }
}

/**
 * Asks one question again and again: while an answer is on its way only the newest wish is remembered, so that fast
 * zooming never queues up work.
 */
export class Asker {
  #question; #answered; #wanted = null; #busy = false;

  constructor(question, answered) {
    this.#question = question;
    this.#answered = answered;
  }

  ask(given) {
    this.#wanted = given;
    if (!this.#busy) this.#next();
  }

  async #next() {
    this.#busy = true;
    while (this.#wanted) {
      const given = this.#wanted;
      this.#wanted = null;
      try {
        const answer = await ask(this.#question, given);
        this.#answered(answer, given, this.#wanted !== null);
      } catch (error) {
        if (!(error instanceof Refused)) throw error;
        this.#answered(null, given, false, error);
      }
    }
    this.#busy = false;
  }
}
