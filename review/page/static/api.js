// Requests to the page's own server, and what this window is called there.
const csrf = document.querySelector('meta[name="csrf"]').content;

function number() {
  return Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

export const client = (() => {
  const kept = sessionStorage.getItem("client") || number();
  sessionStorage.setItem("client", kept);
  return kept;
})();

export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

// Throws Refused where the server says no, and TypeError where it does not answer.
export async function post(path, content) {
  const answer = await fetch(path, {
    method: "POST",
    headers: { "content-type": "application/json", "x-csrf-token": csrf },
    body: JSON.stringify({ client, ...content }),
    redirect: "error",
  });
  if (answer.ok) return answer.json();
  const text = await answer.text();
  let said = text;
  try { said = JSON.parse(text).error; } catch { /* plain text */ }
  throw new Refused(answer.status, said || `the server answers ${answer.status}`);
}
