// What comes over server-sent events: the status every two seconds, and what happens. A lost connection says so; the
// browser connects again and names the last event it saw, so that the service sends what was missed.
const KEPT = 60;

export const live = { status: null, events: [], isLost: true };

export function follow({ onStatus, onEvent, onLine }) {
  let source;
  const connect = () => {
    source = new EventSource("/v1/events");
    source.addEventListener("open", () => {
      live.isLost = false;
      onLine("live", false);
    });
    source.addEventListener("error", async () => {
      live.isLost = true;
      onLine("connection lost; trying again, then catching up", true);
      if (source.readyState !== EventSource.CLOSED) return;  // the browser tries again by itself
      const answer = await fetch("/v1/status").catch(() => null);
      if (answer?.status === 401) onLine("this session has ended: `seedbed page` prints a new link", true);
      setTimeout(connect, 5000);
    });
    source.addEventListener("status", (message) => {
      live.status = JSON.parse(message.data);
      onStatus(live.status);
    });
    source.addEventListener("message", (message) => {
      live.events.push(JSON.parse(message.data));
      live.events.splice(0, live.events.length - KEPT);
      onEvent(live.events.at(-1));
    });
  };
  connect();
  addEventListener("pagehide", () => source.close());
  addEventListener("pageshow", (event) => event.persisted && connect());
}
